/* An empty directory for each test, and small things to do to files in it. */
#ifndef TESTS_UNIT_TEMP_DIR_H
#define TESTS_UNIT_TEMP_DIR_H

#include <stddef.h>
#include <stdint.h>

/* As a checked fixture: temp_dir_make() before, temp_dir_remove() after. */
void temp_dir_make(void);
void temp_dir_remove(void);
const char *temp_dir(void);
/* temp_dir()/name, valid until the eighth next call. */
const char *temp_path(const char *name);
/* How many names in the directory end like this. */
int temp_count(const char *dir, const char *suffix);
/* Reads or overwrites bytes of a file; a failure is a failed test. */
void file_read(const char *path, uint64_t position, void *data, size_t size);
void file_write(const char *path, uint64_t position, const void *data, size_t size);
uint64_t file_size(const char *path);
void file_copy(const char *from, const char *to);

#endif
