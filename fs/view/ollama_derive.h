/*
 * ollama_derive.h: what `ollama create` (0.33) would make of a GGUF: its configuration, a template
 * and stop words, from the facts that its seal states (crypto/FORMAT.md section 3.2). Pure.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_DERIVE_H
#define SEALEDFS_VIEW_OLLAMA_DERIVE_H

/* facts: valid, or "": then nothing is known. */

/* The configuration blob, JSON; malloc()ed. NULL: out of memory. */
char *ollama_derive_config(const char *facts);
/* Go's text/template; NULL: the model's own template is better, or none of the known formats. */
const char *ollama_derive_template(const char *facts);
/* A JSON array of strings for the parameter "stop"; NULL: none. */
const char *ollama_derive_stops(const char *facts);
/* NULL: the facts describe a complete GGUF; else the problem, as a phrase after "it ". */
const char *ollama_derive_fault(const char *facts);
/* The same, and NULL only when it is a model that Ollama can take. */
const char *ollama_derive_refusal(const char *facts);

#endif
