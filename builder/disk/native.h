/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of engine native share. Data is written as it arrives (native_place.c, in the
 * order of the layers); everything that describes it is computed from the tree at the end
 * (native_write.c), so what a layer costs is its data, and the state after a layer is that data
 * and a list of who owns which blocks and inode number (native_state.c).
 */
#ifndef DISK_NATIVE_H
#define DISK_NATIVE_H

#include "base/pack.h"
#include "disk/disk.h"
#include "disk/engine.h"
#include "disk/extents.h"
#include "disk/volume.h"
#include "disk/writer.h"

/* What one inode of the tree has on the disk. */
struct record {
    struct inode *inode;   /* borrowed; NULL: gone */
    struct volume *volume; /* NULL: none yet, or the file system is none of this engine's */
    uint32_t number;       /* of the inode on the disk; 0: none yet */
    uint32_t piece_count;
    struct piece *pieces; /* blocks of a file, a directory, a long symlink */
    uint64_t *tree;       /* blocks of the tree of extents */
    uint32_t tree_count;
    bool changed;        /* since the last layer was settled */
    bool written;        /* a file: its data is on the disk */
    uint64_t attributes; /* block of extended attributes, 0: none */
};

/* The directory below another file system's mount point: nobody sees it, but it must be there. */
struct stub {
    struct volume *volume;
    uint32_t number;
    uint64_t block;
};

/* A digest that comes later, from another thread. */
struct sum {
    struct sum *next;
    uint32_t id;
    uint8_t digest[HASH_SIZE];
};

struct engine {
    const struct disk *disk;
    int fd;
    struct writer *writer;
    struct volume **volumes; /* by index of the partition; NULL where it is not ext4 */
    struct stub *stubs;      /* the same */
    struct node **mounts;    /* the same: where in the tree it is mounted, looked up at need */
    struct record *records;  /* by id; 0 is not used */
    size_t record_space;
    uint32_t last_id;
    uint32_t *changed; /* ids, as they come */
    size_t changed_count, changed_space;
    struct sum *sums; /* of this layer, newest first */

    /* The file whose data comes, and the stretch of it that has blocks already. */
    struct record *file;
    uint64_t file_at;    /* bytes that came or were holes */
    uint64_t first;      /* of the stretch: block of the file, */
    struct run stretch;  /* and on the disk */
    uint64_t stretch_at; /* bytes of the file up to which the stretch is written */
};

/* The record of an inode, made when it is not there. */
struct record *native_record(struct engine *engine, struct inode *inode);

/* The file system NODE lives on, NULL when it is none of this engine's. */
struct volume *native_home(struct engine *engine, const struct node *node);
void native_find_mounts(struct engine *engine);

/* An inode is to be placed when its layer is over. */
void native_change(struct engine *engine, struct inode *inode);

/*
 * At the end, before the last native_settle: the names of an inode may lie on another file system
 * than the one its first did. What has data cannot follow.
 */
int native_check_homes(struct engine *engine, struct error *err);

/* The content of a file, as it comes: its blocks are taken, its digest is there after the layer. */
void native_file(struct engine *engine, struct record *record);
int native_bytes(struct engine *engine, const void *data, size_t size, uint64_t offset,
                 struct error *err);
int native_file_end(struct engine *engine, struct error *err);

/* Blocks of a record's pieces: neither those of its tree of extents nor of its attributes. */
uint64_t native_blocks(const struct record *record);

/* Gives a record's blocks back. */
void native_give_data(struct record *record);
void native_give_all(struct record *record);

/*
 * After a layer: waits for its data, gives freed blocks back as zeros, and places what its inodes
 * need besides: numbers, blocks of directories, symlinks, attributes and extents.
 */
int native_settle(struct engine *engine, struct error *err);

/* Writes everything that describes the data, then what libext2fs keeps. */
int native_write(struct engine *engine, struct error *err);

/* The state between two layers. native_load is for an engine that has just begun, on a tree that
 * was loaded; what it says of the blocks must be true of the disk. */
void native_save(const struct engine *engine, struct buf *out);
int native_load(struct engine *engine, struct unpack *in, struct error *err);

/* Nothing changed since the last layer. */
void native_forget_changes(struct engine *engine);

/* Blocks of a symlink: none as long as its target fits into the inode. */
uint64_t native_symlink_blocks(const char *target);

/* Names of a directory that are on its own file system or mounted there: in bytes. */
size_t native_directory_bytes(struct engine *engine, const struct record *record);

#endif
