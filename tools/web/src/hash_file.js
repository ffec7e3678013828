// The digests by which a model is known, of a file of any size, piece by piece: SHA-256, SHA-384 and
// fs-verity (crypto/FORMAT.md, section 7). WebCrypto cannot hash in pieces, so this is @noble/hashes.

import { sha256, sha384 } from '@noble/hashes/sha2.js';

const PIECE = 4 << 20;
const BLOCK = 4096;

// One level of the tree at a time, so that no more than a block of each is kept.
class Verity {
	constructor() {
		this.levels = [];
		this.length = 0;
	}

	add(level, hash) {
		const here = this.levels[level] ??= { block: new Uint8Array(BLOCK), used: 0, total: 0, last: null };
		here.block.set(hash, here.used);
		here.used += hash.length;
		here.total++;
		here.last = hash;
		if (here.used === BLOCK)
			this.flush(level);
	}

	flush(level) {
		const here = this.levels[level];
		this.add(level + 1, sha256(here.block.fill(0, here.used)));
		here.used = 0;
	}

	// All but the last piece are whole blocks.
	update(piece) {
		this.length += piece.length;
		for (let at = 0; at < piece.length; at += BLOCK) {
			let block = piece.subarray(at, at + BLOCK);
			if (block.length < BLOCK) {
				const padded = new Uint8Array(BLOCK);
				padded.set(block);
				block = padded;
			}
			this.add(0, sha256(block));
		}
	}

	root() {
		for (let level = 0; level < this.levels.length; level++) {
			const here = this.levels[level];
			if (here.total === 1)
				return here.last;
			if (here.used > 0)
				this.flush(level);
		}
		return new Uint8Array(32);
	}

	digest() {
		const descriptor = new Uint8Array(256);
		descriptor.set([1, 1, 12, 0]);
		new DataView(descriptor.buffer).setBigUint64(8, BigInt(this.length), true);
		descriptor.set(this.root(), 16);
		return sha256(descriptor);
	}
}

// {sha256, sha384, verity}. progress(share) is called as it goes on; signal ends it.
export async function hashFile(file, progress, signal) {
	const one = sha256.create(), other = sha384.create(), verity = new Verity();
	for (let at = 0; at < file.size; at += PIECE) {
		signal.throwIfAborted();
		const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
		one.update(piece);
		other.update(piece);
		verity.update(piece);
		progress(Math.min(1, (at + piece.length) / file.size));
	}
	return { sha256: one.digest(), sha384: other.digest(), verity: verity.digest() };
}
