/* What every cmocka test includes, in the order that cmocka 1.1 needs. */
#ifndef SEALEDFS_TEST_H
#define SEALEDFS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
