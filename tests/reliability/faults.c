/* Stands before libc (LD_PRELOAD): the n-th write, sync or rename of the process fails, or is its last.

   SQLite does its own system calls, out of Python's reach. Modes: 0 count only, 1 SIGKILL before the call,
   2 SIGKILL after half of what was to be written, else the error number that this call and all later ones give. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

static volatile long calls, nth = -1;
static volatile int mode;

void faults_arm(long n, int what) { calls = 0; nth = n; mode = what; }
long faults_calls(void) { return calls; }

static int fault(void) {
    if (nth < 0) return 0;
    long now = __sync_add_and_fetch(&calls, 1);
    if (now < nth || mode == 0) return 0;
    if (now > nth && mode <= 2) return 0;
    if (mode == 1) kill(getpid(), SIGKILL);
    return mode;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRITES(name, ...)                                   \
    {                                                       \
        REAL(name);                                         \
        int what = fault();                                 \
        if (what == 2) { size = size / 2; real(__VA_ARGS__); kill(getpid(), SIGKILL); } \
        if (what > 2) { errno = what; return -1; }          \
        return real(__VA_ARGS__);                           \
    }

#define ACTS(name, ...)                                     \
    {                                                       \
        REAL(name);                                         \
        int what = fault();                                 \
        if (what == 2) kill(getpid(), SIGKILL);             \
        if (what > 2) { errno = what; return -1; }          \
        return real(__VA_ARGS__);                           \
    }

ssize_t write(int file, const void *data, size_t size) WRITES(write, file, data, size)
ssize_t pwrite(int file, const void *data, size_t size, off_t at) WRITES(pwrite, file, data, size, at)
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) WRITES(pwrite64, file, data, size, at)
int fsync(int file) ACTS(fsync, file)
int fdatasync(int file) ACTS(fdatasync, file)
int ftruncate(int file, off_t size) ACTS(ftruncate, file, size)
int ftruncate64(int file, off64_t size) ACTS(ftruncate64, file, size)
