/* lua/files.h - what control and the command line do with files beyond reading them. */
#ifndef VF_LUA_FILES_H
#define VF_LUA_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Replaces the file `path` by `len` bytes at `data`: a new file of permissions `mode` beside it,
 * flushed to the disk, takes its name, so a reader or a power cut finds the old or the new text and
 * never half of one. Returns 0 or -errno; the old file is untouched then. */
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);

/* Creates the file `path` with the permissions `mode` and `len` bytes at `data`, flushed to the
 * disk. Returns 0 or -errno; -EEXIST when there is one, which is left alone. */
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);

/* Appends `len` bytes at `data` to the file `path`, which has to be there. It does not wait for the
 * disk. Returns 0 or -errno; then a part of them may stand there. */
int vf_file_append(const char *path, const char *data, size_t len);

/* Creates a folder and those above it with the permissions `mode`. Returns 0 (also when it is
 * there) or -errno. */
int vf_file_make_folder(const char *path, uint32_t mode);

/* Writes the absolute path of `path`, without links, to `out`. Returns its length or -errno. */
int vf_file_real_path(const char *path, char *out, size_t room);

enum vf_file_kind { VF_FILE_NONE = 0, VF_FILE_REGULAR, VF_FILE_FOLDER, VF_FILE_OTHER };

/* Returns what is at `path`, links followed. */
int vf_file_kind(const char *path);

/* Returns the permissions of the file at `path`, links followed, or -errno. */
int vf_file_mode(const char *path);

/* Writes the paths that match the shell pattern `pattern`, in byte order, each followed by a
 * newline, to `out` (paths with a newline are left out). Returns the length, or -errno; -ENOBUFS
 * when `room` does not do. No match is length 0. */
int vf_file_glob(const char *pattern, char *out, size_t room);

#endif
