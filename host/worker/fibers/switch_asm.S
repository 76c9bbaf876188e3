/*
 * void switch_to(struct switch_context *from, const struct switch_context *to)
 *
 * Pushes the registers that a callee preserves in the order of struct saved
 * (switch.c), leaves the stack pointer in *from, takes the one in *to, and
 * pops them there.
 *
 * Marked for branch tracking (IBT, BTI), so that the linker marks what this is
 * linked into. Not marked for shadow stacks: each fiber would need one of its own.
 */

#if defined(SWITCH_PORTABLE)

#elif defined(__x86_64__) && defined(__LP64__)

        .text
        .globl  switch_to
        .hidden switch_to
        .type   switch_to, @function
        .p2align 4
switch_to:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)

        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp

        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   switch_to, . - switch_to

        /* A stack begins here: a debugger and an unwinder look no further. */
        .globl  switch_enter
        .hidden switch_enter
        .type   switch_enter, @function
        .p2align 4
switch_enter:
        .cfi_startproc
        .cfi_undefined %rip
        endbr64
        movq    %r13, %rdi
        call    *%r12
        ud2
        .cfi_endproc
        .size   switch_enter, . - switch_enter

#elif defined(__aarch64__)

        .text
        .globl  switch_to
        .hidden switch_to
        .type   switch_to, %function
        .p2align 4
switch_to:
        .cfi_startproc
        hint    #34             /* bti c */
        stp     x29, x30, [sp, #-16]!
        .cfi_adjust_cfa_offset 16
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        sub     sp, sp, #144
        .cfi_adjust_cfa_offset 144
        stp     d8, d9, [sp, #0]
        stp     d10, d11, [sp, #16]
        stp     d12, d13, [sp, #32]
        stp     d14, d15, [sp, #48]
        stp     x19, x20, [sp, #64]
        .cfi_rel_offset x19, 64
        .cfi_rel_offset x20, 72
        stp     x21, x22, [sp, #80]
        .cfi_rel_offset x21, 80
        .cfi_rel_offset x22, 88
        stp     x23, x24, [sp, #96]
        .cfi_rel_offset x23, 96
        .cfi_rel_offset x24, 104
        stp     x25, x26, [sp, #112]
        .cfi_rel_offset x25, 112
        .cfi_rel_offset x26, 120
        stp     x27, x28, [sp, #128]
        .cfi_rel_offset x27, 128
        .cfi_rel_offset x28, 136

        mov     x9, sp
        str     x9, [x0]
        ldr     x9, [x1]
        mov     sp, x9

        ldp     d8, d9, [sp, #0]
        ldp     d10, d11, [sp, #16]
        ldp     d12, d13, [sp, #32]
        ldp     d14, d15, [sp, #48]
        ldp     x19, x20, [sp, #64]
        ldp     x21, x22, [sp, #80]
        ldp     x23, x24, [sp, #96]
        ldp     x25, x26, [sp, #112]
        ldp     x27, x28, [sp, #128]
        add     sp, sp, #144
        .cfi_adjust_cfa_offset -144
        ldp     x29, x30, [sp], #16
        .cfi_adjust_cfa_offset -16
        ret
        .cfi_endproc
        .size   switch_to, . - switch_to

        /* A stack begins here: a debugger and an unwinder look no further. */
        .globl  switch_enter
        .hidden switch_enter
        .type   switch_enter, %function
        .p2align 4
switch_enter:
        .cfi_startproc
        .cfi_undefined x30
        hint    #36             /* bti j */
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   switch_enter, . - switch_enter

#endif

#if defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))
#ifdef __x86_64__
#define FEATURE_1 0xc0000002 /* GNU_PROPERTY_X86_FEATURE_1_AND; bit 0 is IBT */
#else
#define FEATURE_1 0xc0000000 /* GNU_PROPERTY_AARCH64_FEATURE_1_AND; bit 0 is BTI */
#endif
        .section .note.gnu.property, "a"
        .p2align 3
        .long   4, 16, 5        /* sizes of name and descriptor, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   FEATURE_1, 4, 1, 0
#endif

        .section .note.GNU-stack, "", %progbits
