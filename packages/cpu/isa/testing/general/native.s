# Loads all registers, runs what lies at 0x100000, stores all registers. The exchange area of native.c is at 0x120000:
# registers before +0x00, after +0x80, flags before +0x100, after +0x108, the host's rsp +0x110.

        .macro save_callee_saved
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, 0x120110
        .endm
        .macro load_low
        movq 0x120000, %rax
        movq 0x120008, %rcx
        movq 0x120010, %rdx
        movq 0x120018, %rbx
        movq 0x120028, %rbp
        movq 0x120030, %rsi
        movq 0x120038, %rdi
        .endm

        .text
        .globl enter64, enter32, resume
        .globl leave64, leave64_end, leave32, leave32_end, back64, back64_end, stub32, stub32_end
enter64:
        save_callee_saved
        pushq 0x120100
        popfq
        load_low
        movq 0x120040, %r8
        movq 0x120048, %r9
        movq 0x120050, %r10
        movq 0x120058, %r11
        movq 0x120060, %r12
        movq 0x120068, %r13
        movq 0x120070, %r14
        movq 0x120078, %r15
        movq 0x120020, %rsp
        jmpq *code_address(%rip)
code_address:
        .quad 0x100000

enter32:
        save_callee_saved
        movl $0x2b, %eax
        movl %eax, %ds
        movl %eax, %es
        pushq 0x120100
        popfq
        load_low
        ljmpl *stub_pointer
        .section .rodata
stub_pointer:
        .long 0x110800
        .word 0x23
        .text

resume:
        pushq $0x202
        popfq
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

# What follows is copied to fixed addresses.
leave64:
        movq %rax, 0x120080
        movq %rcx, 0x120088
        movq %rdx, 0x120090
        movq %rbx, 0x120098
        movq %rsp, 0x1200a0
        movq %rbp, 0x1200a8
        movq %rsi, 0x1200b0
        movq %rdi, 0x1200b8
        movq %r8, 0x1200c0
        movq %r9, 0x1200c8
        movq %r10, 0x1200d0
        movq %r11, 0x1200d8
        movq %r12, 0x1200e0
        movq %r13, 0x1200e8
        movq %r14, 0x1200f0
        movq %r15, 0x1200f8
        movq 0x120110, %rsp
        pushfq
        popq 0x120108
        jmpq *resume64_address(%rip)
resume64_address:
        .quad resume
leave64_end:

back64:
        movq 0x120110, %rsp
        jmpq *resume_address(%rip)
resume_address:
        .quad resume
back64_end:

        .code32
stub32:
        movl 0x120020, %esp
        .byte 0xe9
        .long 0x100000 - (0x110800 + (. - stub32) + 4)
stub32_end:

leave32:
        movl %eax, 0x120080
        movl %ecx, 0x120088
        movl %edx, 0x120090
        movl %ebx, 0x120098
        movl %esp, 0x1200a0
        movl %ebp, 0x1200a8
        movl %esi, 0x1200b0
        movl %edi, 0x1200b8
        movl $0x301c00, %esp
        pushfl
        popl 0x120108
        ljmpl $0x33, $0x110200
leave32_end:
        .code64

        .section .note.GNU-stack,"",@progbits
