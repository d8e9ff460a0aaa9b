#!/bin/sh
# make_certs.sh <folder> - a root and server certificates for localhost, made by OpenSSL: root.pem;
# ecdsa.pem and rsa.pem, signed by it; client.pem, for clients; constrained.pem, signed by
# middle.pem, which may sign for addresses in 10.0.0.0/8 only; each with its .key.
set -eu
cd "$1"
exec 2>make_certs.log

cat >leaf.cnf <<CNF
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
extendedKeyUsage = serverAuth
keyUsage = digitalSignature
basicConstraints = CA:FALSE
CNF

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout root.key \
    -out root.pem -days 2 -subj "/CN=hpx test root"
for kind in ecdsa rsa; do
    case $kind in
    ecdsa) openssl ecparam -name prime256v1 -genkey -noout -out ecdsa.key ;;
    rsa) openssl genrsa -out rsa.key 2048 ;;
    esac
    openssl req -new -key $kind.key -out $kind.csr -subj "/CN=$kind"
    openssl x509 -req -in $kind.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
        -extfile leaf.cnf -out $kind.pem
done

cat >middle.cnf <<CNF
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
nameConstraints = critical, permitted;IP:10.0.0.0/255.0.0.0
CNF
openssl ecparam -name prime256v1 -genkey -noout -out middle.key
openssl req -new -key middle.key -out middle.csr -subj "/CN=middle"
openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
    -extfile middle.cnf -out middle.pem
openssl x509 -req -in ecdsa.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 2 \
    -extfile leaf.cnf -out constrained.pem
cp ecdsa.key constrained.key

cat >client.cnf <<CNF
extendedKeyUsage = clientAuth
keyUsage = digitalSignature
basicConstraints = CA:FALSE
CNF
openssl ecparam -name prime256v1 -genkey -noout -out client.key
openssl req -new -key client.key -out client.csr -subj "/CN=trader 7"
openssl x509 -req -in client.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
    -extfile client.cnf -out client.pem
