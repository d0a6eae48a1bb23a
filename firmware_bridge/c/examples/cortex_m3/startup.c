/* Vectors, start-up and the four functions that a C compiler expects, for a Cortex-M3 without a C library. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t data_start[], data_end[], data_image[], bss_start[], bss_end[], stack_limit[], stack_top[];
int main(void);
void uart0_received(void);
void reset(void);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
size_t strlen(const char *text);

static void stopped(void)
{
    for (;;) { }
}

/* Stack, then the 15 system vectors, then interrupt 0. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handler[16])(void);
} vectors = { stack_top, { reset, stopped, stopped, [15] = uart0_received } };

void reset(void)
{
    for (uint32_t *to = data_start, *from = data_image; to < data_end;) *to++ = *from++;
    for (uint32_t *at = bss_start; at < bss_end;) *at++ = 0;
    /* Paint the stack below this frame, to measure how deep it goes. */
    uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *at = stack_limit; at < here - 16; at++) *at = 0xfeedbeef;
    main();
    stopped();
}

/* volatile keeps the compiler from turning these loops into calls of themselves. */
void *memcpy(void *to, const void *from, size_t size)
{
    volatile uint8_t *t = to;
    for (const uint8_t *f = from; size--;) *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    volatile uint8_t *t = to;
    const uint8_t *f = from;
    if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, size);
    while (size--) t[size] = f[size];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    for (volatile uint8_t *t = to; size--;) *t++ = (uint8_t)value;
    return to;
}

size_t strlen(const char *text)
{
    size_t size = 0;
    while (((const volatile char *)text)[size]) size++;
    return size;
}
