#!/bin/sh
# Makes certificates with the openssl command: make_certs.sh FOLDER [NAME...] (all without names)
#
#   ca.pem           trusted by the tests
#   good             localhost, 127.0.0.1, ::1; signed by ca
#   good-rsa         the same with an RSA key
#   expired, early   the same, but until yesterday, from tomorrow
#   other            another name, signed by ca
#   name-only        localhost without the addresses
#   self-signed      localhost, signed by itself
#   untrusted        localhost, signed by a CA that nobody trusts
#   client           for client authentication, signed by ca
# Each has NAME.pem and NAME.key.
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$1"
shift

cat >ca.conf <<'END'
[ca]
default_ca = it
[it]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 30
policy = any
email_in_dn = no
[any]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
CN = localhost
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = $ENV::SAN
END
: >index.txt
export SAN=DNS:localhost
all=DNS:localhost,IP:127.0.0.1,IP:::1

when() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
ec_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

root() {
    ec_key "$1"
    openssl req -x509 -config ca.conf -extensions root -key "$1.key" -subj "/CN=$1" -days 30 \
        -out "$1.pem"
}

# leaf NAME CA SAN FROM TO [KEY]
leaf() {
    [ -f "$1.key" ] || ec_key "$1"
    openssl req -new -config ca.conf -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    SAN=$3 openssl ca -batch -notext -config ca.conf -extensions leaf -in "$1.csr" \
        -cert "$2.pem" -keyfile "$2.key" -startdate "$(when "$4")" -enddate "$(when "$5")" \
        -out "$1.pem" 2>openssl.log || { cat openssl.log >&2; exit 1; }
}

names=" ${*:-all} "
wanted() { case $names in *" $1 "* | *" all "*) return 0 ;; *) return 1 ;; esac; }

root ca
if wanted good; then leaf good ca "$all" '1 day ago' '30 days'; fi
if wanted good-rsa; then
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out good-rsa.key 2>/dev/null
    leaf good-rsa ca "$all" '1 day ago' '30 days'
fi
if wanted expired; then leaf expired ca "$all" '3 days ago' '1 day ago'; fi
if wanted early; then leaf early ca "$all" '1 day' '30 days'; fi
if wanted other; then leaf other ca DNS:other.example '1 day ago' '30 days'; fi
if wanted name-only; then leaf name-only ca DNS:localhost '1 day ago' '30 days'; fi
if wanted client; then leaf client ca DNS:client.example '1 day ago' '30 days'; fi
if wanted untrusted; then
    root stranger
    leaf untrusted stranger "$all" '1 day ago' '30 days'
fi
if wanted self-signed; then
    ec_key self-signed
    SAN=$all openssl req -x509 -config ca.conf -extensions leaf -key self-signed.key \
        -subj /CN=localhost -days 30 -out self-signed.pem
fi
