// The page's explanations: what each step means when it passed or was not asked, and what a PCR is for.

export const STEP_NAMES = {
	decode: 'Document', fields: 'Fields', chain: 'Certificate chain', signature: 'Signature',
	freshness: 'Freshness', tls: 'TLS key', boot: 'Boot image', log: 'Event log', model: 'Models',
	owner: 'Owner',
};

export const PASSED = {
	decode: 'The bytes are one attestation document.',
	fields: 'Every field is well-formed.',
	chain: 'It leads to the expected root, and was valid when the document was signed.',
	signature: 'The document is signed by the key that the chain vouches for.',
	freshness: 'The document answers this question, or is young enough.',
	boot: 'The boot PCRs have approved values.',
	log: "The machine's event log leads to the PCR's value.",
	model: 'The PCR holds exactly the expected models.',
	owner: 'Each model was sealed by an expected owner.',
};

// What is not known when a step was not asked.
export const NOT_CHECKED = {
	freshness: 'How old the answer is: the document was judged at its own time. It may have been recorded long ago.',
	tls: 'Whether this machine ends the TLS connection: a web page cannot see the key of a server. "sealctl verify --from https://…" can.',
	boot: 'What the machine booted: without boot values the document proves a genuine AWS machine, but not what runs on it. The PCR says nothing about a model then.',
	log: 'What was measured: without an event log it is not known what the PCR holds.',
	model: 'Which models are the right ones: any model would have done.',
	owner: 'Who sealed the models: any owner would have done.',
};

export const ALWAYS_NOT_CHECKED = 'Revocation lists of the certificates: AWS says that they must not be used.';

const PURPOSE = {
	0: 'firmware', 1: 'firmware configuration', 2: 'option ROMs', 3: 'option ROM configuration',
	4: 'boot manager and kernel image', 5: 'partition table', 6: 'platform', 7: 'Secure Boot',
	8: 'boot loader commands', 9: 'kernel and initrd', 10: 'IMA', 11: 'unified kernel image',
	12: 'kernel command line, credentials', 13: 'system extensions', 14: 'MOK keys', 15: 'models, systemd',
	16: 'debug', 23: 'applications',
};
const ENCLAVE_PURPOSE = {
	0: 'enclave image', 1: 'kernel and boot', 2: 'application', 3: "parent's IAM role",
	4: "parent's instance id", 8: 'signing certificate',
};

export function purposeOf(index, enclave) {
	return (enclave ? ENCLAVE_PURPOSE : PURPOSE)[index] ?? '';
}

// Text from outside, with everything that could hide or reorder it made visible.
export function printable(text) {
	return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);
}
