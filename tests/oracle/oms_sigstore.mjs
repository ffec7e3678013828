// Has Sigstore's own JavaScript library verify the envelope of an OMS bundle with a plain key. Run by
// hand; it is no part of the suites, because it needs packages of the npm registry:
//
//   npm install --ignore-scripts @sigstore/bundle@5.0.1 @sigstore/verify@4.1.3
//   node oms_sigstore.mjs BUNDLE PUBLIC.pem
import { createHash, createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { assertBundleLatest, bundleFromJSON } from '@sigstore/bundle'
import { Verifier, toSignedEntity } from '@sigstore/verify'

const [bundlePath, keyPath] = process.argv.slice(2)
const publicKey = createPublicKey(readFileSync(keyPath, 'utf8'))
const pem = publicKey.export({ type: 'spki', format: 'pem' })
const fingerprint = createHash('sha256').update(pem).digest('hex')
const trust = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: (hint) => {
    if (hint !== fingerprint) throw new Error(`the bundle names the key ${hint}, this is ${fingerprint}`)
    return { publicKey, validFor: () => true }
  },
}
const bundle = bundleFromJSON(JSON.parse(readFileSync(bundlePath, 'utf8')))
assertBundleLatest(bundle)
new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 }).verify(toSignedEntity(bundle))
const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString())
console.log(`ok: ${statement.predicate.resources.length} files`)
