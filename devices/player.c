/* A recording as a Python function of no arguments, which is called in a fifth of the time that cffi takes.

   It gives Python's lock to other threads while kernels run, as cffi does, unless they were seen to take less
   than handing over the lock and taking it back is worth. Compiled after cffi's own text, which includes
   Python.h and declares what runtime.c has. */
#define PW_ROW "portwright.row"
enum { TRIALS = 8, SHORT_NS = 5000 };

static PyObject *pw_play(PyObject *self, PyObject *unused) {
    (void)unused;
    pw_row *row = (pw_row *)PyCapsule_GetPointer(self, PW_ROW);
    if (!row) return NULL;
    if (row->alone && row->trials == TRIALS && row->least_ns < SHORT_NS) {
        pw_replay(row->records, row->count);
        Py_RETURN_NONE;
    }
    Py_BEGIN_ALLOW_THREADS
    if (row->trials < TRIALS) {
        int64_t took = pw_timed_replay(row->records, row->count);
        if (!row->trials || took < row->least_ns) row->least_ns = took;
        row->trials++;
    } else pw_replay(row->records, row->count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef pw_play_method = {"play", pw_play, METH_NOARGS, "Runs the launches in order."};

static void pw_forget(PyObject *capsule) { Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule)); }

/* player(address of a pw_row, what must live as long): the function. */
static PyObject *pw_player(PyObject *self, PyObject *args) {
    (void)self;
    unsigned long long address;
    PyObject *owner;
    if (!PyArg_ParseTuple(args, "KO", &address, &owner)) return NULL;
    PyObject *capsule = PyCapsule_New((void *)(uintptr_t)address, PW_ROW, pw_forget);
    if (!capsule) return NULL;
    Py_INCREF(owner);
    PyCapsule_SetContext(capsule, owner);
    PyObject *made = PyCFunction_NewEx(&pw_play_method, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

static PyMethodDef pw_methods[] = {
    {"player", pw_player, METH_VARARGS, "A recording as a function of no arguments."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef pw_module = {PyModuleDef_HEAD_INIT, "_portwright_player", NULL, -1, pw_methods,
                                       NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__portwright_player(void) { return PyModule_Create(&pw_module); }
