/* Answers CPUID without AVX-512, VNNI and AMX, so that programs take the code that they have for an older processor.

   Loaded into each process before its program. CPUID then raises SIGSEGV (arch_prctl(2), ARCH_CPUID); the handler runs
   it and clears the bits. Where the kernel cannot do that, the process ends: its figures would be of another kind. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SET_CPUID 0x1012
#define BIT(n) (1u << (n))

static struct sigaction others;

static long faulting(int allowed) { return syscall(SYS_arch_prctl, SET_CPUID, allowed); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *at = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)at[REG_RIP];
    if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
        if (others.sa_flags & SA_SIGINFO) others.sa_sigaction(number, info, context);
        else if (others.sa_handler != SIG_DFL && others.sa_handler != SIG_IGN) others.sa_handler(number);
        else { signal(SIGSEGV, SIG_DFL); raise(SIGSEGV); }
        return;
    }
    unsigned leaf = (unsigned)at[REG_RAX], part = (unsigned)at[REG_RCX], a = leaf, b, c = part, d;
    faulting(1);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    faulting(0);
    if (leaf == 7 && part == 0) {
        b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)); /* AVX-512 */
        c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));                                 /* AVX-512, its VNNI */
        d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));              /* AVX-512, AMX */
    } else if (leaf == 7 && part == 1) {
        a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI, bf16, AMX-FP16, AVX-IFMA */
        d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19));
    }
    at[REG_RAX] = a, at[REG_RBX] = b, at[REG_RCX] = c, at[REG_RDX] = d;
    at[REG_RIP] += 2;
}

/* Who asks for a handler of SIGSEGV gets called for what is not CPUID. */
int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    int (*real)(int, const struct sigaction *, struct sigaction *) = dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGSEGV) return real(number, wanted, before);
    if (before != NULL) *before = others;
    if (wanted != NULL) others = *wanted;
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    int (*real)(int, const struct sigaction *, struct sigaction *) = dlsym(RTLD_NEXT, "sigaction");
    struct sigaction ours = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    others.sa_handler = SIG_DFL;
    if (real(SIGSEGV, &ours, NULL) != 0 || faulting(0) != 0) _exit(86);
}
