/* SPDX-License-Identifier: GPL-2.0-or-later */
/* array.h - arrays that grow. */
#ifndef HAUL_ARRAY_H
#define HAUL_ARRAY_H

#include <stddef.h>

/**
 * array_grow() - room for one more element; the capacity doubles
 * @array: address of the pointer to the first element; NULL there: no array yet
 * @n:     elements in use
 * @cap:   elements that fit
 * @size:  of an element, in bytes
 * Return: 0; -ENOMEM, and the array is as it was
 */
int array_grow(void *array, size_t n, size_t *cap, size_t size);

#endif
