/* The two clocks. Microseconds; any thread. Nothing in machine/ may include this. */
#ifndef STD_CLOCK_H
#define STD_CLOCK_H

#include <stdint.h>

int64_t clock_wall_us(void); /* since 1970 UTC; may be set back by an operator */
int64_t clock_mono_us(void); /* since some start; never falls */

#endif
