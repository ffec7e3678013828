// Step "chain": leaf, cabundle from last to first, the expected root. Written from
// attest/verdict/VERDICT.md, "Chain". Certificates are parsed by @peculiar/asn1-x509, signatures are
// verified by WebCrypto; who may sign whom is decided here.

import { AsnConvert } from '@peculiar/asn1-schema';
import {
	AuthorityKeyIdentifier, BasicConstraints, Certificate, KeyUsage, KeyUsageFlags,
	SubjectKeyIdentifier, id_ce_authorityKeyIdentifier, id_ce_basicConstraints, id_ce_keyUsage,
	id_ce_subjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { ECDSASigValue } from '@peculiar/asn1-ecc';
import { equal } from './bytes.js';

const ECDSA_WITH_SHA384 = '1.2.840.10045.4.3.3';
const P384_BYTES = 48;

// True if the bytes are one DER sequence with a definite length, and nothing behind it.
function isOneSequence(bytes) {
	if (bytes.length < 2 || bytes[0] !== 0x30)
		return false;
	if (bytes[1] < 0x80)
		return bytes.length === 2 + bytes[1];
	const count = bytes[1] - 0x80;
	if (count < 1 || count > 3 || bytes.length < 2 + count)
		return false;
	const length = bytes.slice(2, 2 + count).reduce((sum, byte) => sum * 256 + byte, 0);
	return bytes.length === 2 + count + length;
}

function extension(found, oid, type) {
	return found.has(oid) ? AsnConvert.parse(found.get(oid).extnValue.buffer, type) : null;
}

function keyId(identifier) {
	return identifier ? new Uint8Array(identifier.buffer) : null;
}

// One certificate as a plain object. Throws if it is none, or has not a P-384 key.
export async function readCertificate(der) {
	if (!isOneSequence(der))
		throw new Error('not one certificate');
	const parsed = AsnConvert.parse(der, Certificate);
	if (!equal(new Uint8Array(AsnConvert.serialize(parsed)), der))
		throw new Error('not DER'); // the parser takes more than that
	const tbs = parsed.tbsCertificate;
	const extensions = new Map();
	for (const entry of tbs.extensions ?? []) {
		if (extensions.has(entry.extnID))
			throw new Error('an extension is there twice');
		extensions.set(entry.extnID, entry);
	}
	const constraints = extension(extensions, id_ce_basicConstraints, BasicConstraints);
	const usage = extension(extensions, id_ce_keyUsage, KeyUsage);
	const authority = extension(extensions, id_ce_authorityKeyIdentifier, AuthorityKeyIdentifier);
	const subject = extension(extensions, id_ce_subjectKeyIdentifier, SubjectKeyIdentifier);
	return {
		der,
		issuer: new Uint8Array(AsnConvert.serialize(tbs.issuer)),
		subject: new Uint8Array(AsnConvert.serialize(tbs.subject)),
		notBefore: tbs.validity.notBefore.getTime().getTime(),
		notAfter: tbs.validity.notAfter.getTime().getTime(),
		key: await crypto.subtle.importKey('spki', AsnConvert.serialize(tbs.subjectPublicKeyInfo),
			{ name: 'ECDSA', namedCurve: 'P-384' }, true, ['verify']),
		isCa: constraints?.cA === true,
		pathLength: constraints?.pathLenConstraint ?? null,
		usage: usage?.toNumber() ?? 0,
		authorityKeyId: keyId(authority?.keyIdentifier),
		subjectKeyId: keyId(subject),
		strangers: [...extensions.values()].filter((entry) => entry.critical &&
			entry.extnID !== id_ce_basicConstraints && entry.extnID !== id_ce_keyUsage).length,
		algorithms: [parsed.signatureAlgorithm.algorithm, tbs.signature.algorithm],
		signed: new Uint8Array(parsed.tbsCertificateRaw),
		signature: new Uint8Array(parsed.signatureValue),
	};
}

function fixed(integer) {
	let bytes = new Uint8Array(integer);
	while (bytes.length > P384_BYTES && bytes[0] === 0)
		bytes = bytes.slice(1);
	if (bytes.length > P384_BYTES)
		throw new Error('a number of the signature is too long');
	const padded = new Uint8Array(P384_BYTES);
	padded.set(bytes, P384_BYTES - bytes.length);
	return padded;
}

async function signedBy(certificate, issuer) {
	if (certificate.algorithms.some((oid) => oid !== ECDSA_WITH_SHA384))
		return false;
	const value = AsnConvert.parse(certificate.signature, ECDSASigValue);
	if (!equal(new Uint8Array(AsnConvert.serialize(value)), certificate.signature))
		return false;
	const raw = new Uint8Array(2 * P384_BYTES);
	raw.set(fixed(value.r), 0);
	raw.set(fixed(value.s), P384_BYTES);
	return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-384' }, issuer.key, raw, certificate.signed);
}

async function issuedBy(certificate, issuer) {
	const one = certificate.authorityKeyId, other = issuer.subjectKeyId;
	return equal(certificate.issuer, issuer.subject) && (!one || !other || equal(one, other)) &&
		signedBy(certificate, issuer);
}

// path: leaf first, root last.
async function holdsTogether(path) {
	const [leaf] = path;
	if (leaf.isCa || !(leaf.usage & KeyUsageFlags.digitalSignature) || path.some((one) => one.strangers))
		return false;
	for (let i = 1; i < path.length; i++) {
		const authority = path[i];
		if (!authority.isCa || (authority.pathLength !== null && i - 1 > authority.pathLength))
			return false;
		if (equal(path[i - 1].issuer, path[i - 1].subject))
			return false;
		if (i < path.length - 1 && !(authority.usage & KeyUsageFlags.keyCertSign))
			return false;
		if (!await issuedBy(path[i - 1], authority))
			return false;
	}
	return true;
}

// {cause: null, 'root', 'other' or 'time', leafKey}. fields: of the document; root: DER.
// leafKey is there whenever the leaf can be read: the signature is judged whatever the chain is.
export async function judgeChain(fields, root) {
	let path = null, leafKey = null;
	try {
		leafKey = (await readCertificate(fields.certificate)).key;
		path = await Promise.all([fields.certificate, ...fields.cabundle.slice().reverse()]
			.map(readCertificate));
	} catch {
		path = null;
	}
	if (!equal(fields.cabundle[0], root))
		return { cause: 'root', leafKey };
	try {
		if (path === null || !await holdsTogether(path))
			return { cause: 'other', leafKey };
	} catch {
		return { cause: 'other', leafKey };
	}
	const time = Math.floor(fields.timestamp / 1000) * 1000;
	const valid = path.every((one) => one.notBefore <= time && time <= one.notAfter);
	return { cause: valid ? null : 'time', leafKey };
}
