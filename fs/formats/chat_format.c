/*
 * Chat formats. Job: one table of what a model's own Jinja template looks like, and of the Go
 * template for the same text. Trusts nothing of a template: it is searched for words only. Must
 * never take a template for a simpler one than it is: with several matches there is none.
 */
#include "fs/formats/chat_format.h"

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <string.h>

/* Systems first, then turn after turn, as the models' cards have it. */
static const struct chat_format formats[] = {
	{
		"chatml",
		"{{ range .Messages }}<|im_start|>{{ .Role }}\n"
		"{{ .Content }}<|im_end|>\n"
		"{{ end }}<|im_start|>assistant\n",
		"[\"<|im_start|>\",\"<|im_end|>\"]",
		{"<|im_start|>", "<|im_end|>"},
	},
	{
		"gemma",
		"{{ $first := \"\" }}{{ range .Messages }}"
		"{{ if eq .Role \"system\" }}{{ $first = printf \"%s%s\\n\\n\" $first .Content }}"
		"{{ else }}<start_of_turn>"
		"{{ if eq .Role \"user\" }}user\n{{ $first }}{{ $first = \"\" }}"
		"{{ else }}model\n{{ end }}"
		"{{ .Content }}<end_of_turn>\n"
		"{{ end }}{{ end }}<start_of_turn>model\n",
		"[\"<start_of_turn>\",\"<end_of_turn>\"]",
		{"<start_of_turn>", "<end_of_turn>", "model"},
	},
	{
		"llama2",
		"{{ $first := \"\" }}{{ range .Messages }}"
		"{{ if eq .Role \"system\" }}"
		"{{ $first = printf \"%s<<SYS>>\\n%s\\n<</SYS>>\\n\\n\" $first .Content }}"
		"{{ else if eq .Role \"user\" }}[INST] {{ $first }}{{ .Content }} [/INST]"
		"{{ $first = \"\" }}"
		"{{ else }} {{ .Content }} </s><s>{{ end }}{{ end }}",
		"[\"[INST]\",\"[/INST]\",\"<<SYS>>\",\"<</SYS>>\"]",
		{"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"},
	},
	{
		"llama3",
		"{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n"
		"{{ .Content }}<|eot_id|>{{ end }}"
		"<|start_header_id|>assistant<|end_header_id|>\n\n",
		"[\"<|start_header_id|>\",\"<|end_header_id|>\",\"<|eot_id|>\"]",
		{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
	},
	{
		"mistral",
		"{{ $first := \"\" }}{{ range .Messages }}"
		"{{ if eq .Role \"system\" }}{{ $first = printf \"%s%s\\n\\n\" $first .Content }}"
		"{{ else if eq .Role \"user\" }}[INST] {{ $first }}{{ .Content }} [/INST]"
		"{{ $first = \"\" }}"
		"{{ else }} {{ .Content }}</s>{{ end }}{{ end }}",
		"[\"[INST]\",\"[/INST]\"]",
		{"[INST]", "[/INST]", "eos_token"},
		"<<SYS>>",
	},
	{
		"openchat",
		"{{ range .Messages }}"
		"{{ if eq .Role \"system\" }}{{ .Content }}"
		"{{ else if eq .Role \"user\" }}GPT4 Correct User: {{ .Content }}"
		"{{ else }}GPT4 Correct Assistant: {{ .Content }}{{ end }}<|end_of_turn|>"
		"{{ end }}GPT4 Correct Assistant:",
		"[\"<|end_of_turn|>\"]",
		{"GPT4 Correct ", "<|end_of_turn|>"},
	},
	{
		"phi3",
		"{{ range .Messages }}<|{{ .Role }}|>\n"
		"{{ .Content }}<|end|>\n"
		"{{ end }}<|assistant|>\n",
		"[\"<|end|>\",\"<|system|>\",\"<|user|>\",\"<|assistant|>\"]",
		{"<|end|>", "<|assistant|>"},
	},
	{
		"zephyr",
		"{{ range .Messages }}<|{{ .Role }}|>\n"
		"{{ .Content }}</s>\n"
		"{{ end }}<|assistant|>\n",
		"[\"</s>\",\"<|system|>\",\"<|user|>\",\"<|assistant|>\"]",
		{"<|user|>", "<|assistant|>", "eos_token"},
		"<|end|>",
	},
};

/* What shows that a template can do more. */
static const char *const riches[] = {"tool",	"think",   "reasoning", "function",
				     "channel", "ipython", "documents"};

static bool has_all(const char *text, const struct chat_format *f)
{
	for (size_t i = 0; i < ARRAY_LEN(f->markers) && f->markers[i]; i++)
		if (!strstr(text, f->markers[i]))
			return false;
	return !f->without || !strstr(text, f->without);
}

const struct chat_format *chat_format_detect(const char *text)
{
	const struct chat_format *found = NULL;

	if (strlen(text) > CHAT_TEMPLATE_MAX)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(riches); i++)
		if (strstr(text, riches[i]))
			return NULL;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (!has_all(text, &formats[i]))
			continue;
		if (found)
			return NULL;
		found = &formats[i];
	}
	return found;
}

const struct chat_format *chat_format_find(const char *name, size_t size)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strlen(formats[i].name) == size && memcmp(formats[i].name, name, size) == 0)
			return &formats[i];
	return NULL;
}
