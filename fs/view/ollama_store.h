/*
 * ollama_store.h: the directory "ollama" of the mount, in the shape of Ollama's own store
 * (OLLAMA.md): blobs/sha256-… and manifests/HOST/NAMESPACE/MODEL/TAG. A blob of weights is another
 * entry of the model's own node. Small files are made here, the same at each mount.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_STORE_H
#define SEALEDFS_VIEW_OLLAMA_STORE_H

#include "fs/formats/ollama_description.h"
#include "fs/formats/ollama_name.h"
#include "fs/view/view.h"

#define OLLAMA_DIRECTORY "ollama"

/*
 * Before view_number(). descriptions: by file_index, NULL where there is none; a file whose node
 * has a description but that has none here is left out (the caller has logged why it could not be
 * read). Everything else that is left out has a note in v->notes. 0 or -ENOMEM.
 */
int ollama_store_add(struct view *v, enum ollama_mode mode,
		     struct ollama_description *const *descriptions);

#endif
