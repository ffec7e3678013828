/*
 * xml.h: the small XML answers of S3, by expat. A callback sees each element when it ends, with its
 * path and its own text. Document types (and so entities), deep nesting and long texts are refused.
 * Threads: any; a parse belongs to one.
 */
#ifndef SEALEDFS_NET_XML_H
#define SEALEDFS_NET_XML_H

#include <stddef.h>

#define XML_DEPTH_MAX 12
#define XML_TEXT_MAX 8192

/*
 * path: "ListBucketResult/Contents/Key". text: NUL-terminated, valid during the call; of an element
 * with children only what follows the last child. Returns 0, or a negative errno that ends the
 * parse.
 */
typedef int (*xml_element_fn)(void *arg, const char *path, const char *text);

/* 0, -EPROTO malformed or refused, -ENOMEM, or what the callback returned. */
int xml_parse(const void *data, size_t size, xml_element_fn element, void *arg);

#endif
