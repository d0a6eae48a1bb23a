// As much of the Arduino core as the example sketch uses, on a POSIX terminal.
#pragma once
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { LOW, HIGH, OUTPUT, A0 = 14, A1 };

static int pins[32];
static inline void pinMode(int, int) {}
static inline void digitalWrite(int pin, int level) { pins[pin] = level; }
static inline int digitalRead(int pin) { return pins[pin]; }
static inline int analogRead(int) { return 615; }

static inline uint32_t micros() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)(t.tv_sec * 1000000ll + t.tv_nsec / 1000);
}

struct SerialPort {
    int kept = -1;
    void begin(long) { fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK); }
    int available() {
        uint8_t byte;
        if (kept < 0 && ::read(0, &byte, 1) == 1) kept = byte;
        return kept >= 0;
    }
    int read() {
        int byte = kept;
        kept = -1;
        return byte;
    }
    int availableForWrite() { return 63; }
    size_t write(const uint8_t *data, size_t size) {
        ssize_t taken = ::write(1, data, size);
        return taken > 0 ? (size_t)taken : 0;
    }
};

static SerialPort Serial;
void setup();
void loop();

int main() {
    setup();
    for (;;) {
        loop();
        usleep(500);
    }
}
