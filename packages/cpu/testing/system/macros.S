# What the system test programs share: start from the reset vector, a log on port 0xE9, descriptors.
# The image is a 64 KiB firmware: it copies itself to BASE, where it can be written, and goes on there.

.set BASE, 0x10000
.set LOG, 0xe9

# A segment descriptor: base, limit, access byte, flags (G 8, D/B 4, L 2).
.macro DESCRIPTOR base, limit, access, flags
  .quad ((\limit) & 0xffff) | (((\base) & 0xffffff) << 16) | ((\access) << 40) | ((((\limit) >> 16) & 15) << 48) | ((\flags) << 52) | ((((\base) >> 24) & 0xff) << 56)
.endm
# A gate of 8 bytes: selector, offset within the image, access byte, parameter count.
.macro GATE selector, offset, access, count=0
  .word (\offset) - image, \selector
  .byte \count, \access
  .word BASE >> 16
.endm

# First thing in the image: real mode at BASE.
.macro START
  .code16
image:
  jmp go
reset_stub:
  cld
  mov $0xf000, %ax
  mov %ax, %ds
  mov $BASE >> 4, %ax
  mov %ax, %es
  xor %si, %si
  xor %di, %di
  mov $0x8000, %cx
  rep movsw
  ljmp $BASE >> 4, $0
go:
  mov %cs, %ax
  mov %ax, %ds
  mov %ax, %es
  mov $0x800, %ax
  mov %ax, %ss
  mov $0x7ff0, %sp
.endm

# Log functions for 32- and 64-bit code; they keep all registers but flags.
.macro LOG32
putc:
  out %al, $LOG
  ret
puts: # string behind the call
  xchg %esi, (%esp)
  push %eax
1: mov (%esi), %al
  inc %esi
  test %al, %al
  jz 2f
  out %al, $LOG
  jmp 1b
2: pop %eax
  xchg %esi, (%esp)
  ret
hex32: # eax
  push %ecx
  mov $8, %ecx
  jmp 1f
hex16: # ax
  push %ecx
  mov $4, %ecx
  shl $16, %eax
1: push %edx
  mov %eax, %edx
2: rol $4, %edx
  mov %dl, %al
  and $15, %al
  cmp $10, %al
  jb 3f
  add $39, %al
3: add $48, %al
  out %al, $LOG
  loop 2b
  mov $32, %al
  out %al, $LOG
  pop %edx
  pop %ecx
  ret
.endm
.macro SAY text
  call puts
  .asciz "\text"
.endm

# Last thing: fills the image and puts the reset vector in place.
.macro FINISH
  .org image + 0xfff0 - 0
  .code16
  ljmp $0xf000, $(reset_stub - image)
  .org image + 0x10000
.endm
