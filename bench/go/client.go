// A small client that does the same job as onboardd, as a Go programmer would write it: the measure of `npm run bench`.
// It handles one straight run: no retries, no renewal, no resumption, no checks beyond those of its libraries.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
)

type answer struct {
	CaCertificate string `json:"caCertificate"`
	Certificate   string `json:"certificate"`
	NatsURL       string `json:"fleetManagementNatsUrl"`
}

type result struct {
	Status  string `json:"status"`
	Error   string `json:"error"`
	Alias   string `json:"alias"`
	Payload struct {
		Alias string `json:"alias"`
	} `json:"payload"`
}

var folder string

func main() {
	url := flag.String("url", "", "base URL of the provisioning server")
	natsURL := flag.String("nats", "", "NATS address in place of the answered one")
	key := flag.String("key", "rsa-2048", "rsa-2048 or ec-p256")
	flag.StringVar(&folder, "dir", "", "state directory")
	flag.Parse()
	if err := onboard(*url, *natsURL, *key); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func onboard(url, natsURL, keyType string) error {
	entered("keygen")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	id := hex.EncodeToString(random)
	key, keyPEM, err := makeKey(keyType)
	if err != nil {
		return err
	}
	if err := store("device_id.txt", []byte(id), 0o644); err != nil {
		return err
	}
	if err := store("identity.key", keyPEM, 0o600); err != nil {
		return err
	}
	entered("csr")
	given, err := provision(url, id, key)
	if err != nil {
		return err
	}
	roots, err := verified(given, key)
	if err != nil {
		return err
	}
	if natsURL == "" {
		natsURL = given.NatsURL
	}
	entered("provisioned")
	files := []struct{ name, text string }{
		{"identity.crt", given.Certificate}, {"identity_ca.crt", given.CaCertificate}, {"service_nats_url.txt", natsURL},
	}
	for _, file := range files {
		if err := store(file.name, []byte(file.text), 0o644); err != nil {
			return err
		}
	}
	identity, err := tls.X509KeyPair([]byte(given.Certificate), keyPEM)
	if err != nil {
		return err
	}
	entered("registering")
	text, err := register(natsURL, id, given, &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return err
	}
	if err := store("registration.json", text, 0o600); err != nil {
		return err
	}
	entered("registered")
	return nil
}

func makeKey(keyType string) (crypto.Signer, []byte, error) {
	var key crypto.Signer
	var err error
	if keyType == "rsa-2048" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func provision(url, id string, key crypto.Signer) (*answer, error) {
	template := x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "/Finland~Solita/fleet/" + id + "/registration_agent"},
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.SignatureAlgorithm = x509.SHA512WithRSA
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		return nil, err
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	body, err := json.Marshal(map[string]string{"csr": string(csr)})
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 15 * time.Second}
	response, err := client.Post(url+"/api/devices/provision", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 512*1024))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("provisioning answered %s: %s", response.Status, text)
	}
	var given answer
	return &given, json.Unmarshal(text, &given)
}

// verified checks that the certificate is for our key and was signed by the CA that came with it.
func verified(given *answer, key crypto.Signer) (*x509.CertPool, error) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(given.CaCertificate)) {
		return nil, errors.New("no CA certificate")
	}
	block, rest := pem.Decode([]byte(given.Certificate))
	if block == nil {
		return nil, errors.New("no certificate")
	}
	between.AppendCertsFromPEM(rest)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the certificate is for another key")
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return roots, err
}

func register(natsURL, id string, given *answer, config *tls.Config) ([]byte, error) {
	connection, err := nats.Connect(natsURL, nats.Secure(config), nats.Timeout(10*time.Second), nats.CustomInboxPrefix("_INBOX_"+id))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	results, err := connection.SubscribeSync("device_results." + id + ".register")
	if err != nil {
		return nil, err
	}
	stream, err := connection.JetStream()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{
		"id": id, "deviceType": "mobile", "architecture": "amd64",
		"certificate": given.Certificate, "caCertificate": given.CaCertificate,
	})
	if err != nil {
		return nil, err
	}
	request := nats.NewMsg("device_actions." + id + ".register")
	request.Data = body
	request.Header.Set("ID", id)
	request.Header.Set("timestamp", time.Now().UTC().Format(time.RFC3339))
	if _, err := stream.PublishMsg(request, nats.MsgId(id)); err != nil {
		return nil, err
	}
	message, err := results.NextMsg(30 * time.Second)
	if err != nil {
		return nil, err
	}
	var told result
	if err := json.Unmarshal(message.Data, &told); err != nil {
		return nil, err
	}
	if told.Status != "success" {
		return nil, errors.New(told.Error)
	}
	return message.Data, nil
}

// store replaces a file durably: after a power cut the old content or the new one is there, whole.
func store(name string, text []byte, mode os.FileMode) error {
	path := filepath.Join(folder, name)
	temporary := filepath.Join(folder, "."+name+".tmp")
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err = file.Write(text); err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	directory, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

// entered logs one line, as onboardd logs its states.
func entered(state string) {
	fmt.Printf("{\"timestamp\":%q,\"event\":\"state.changed\",\"to\":%q}\n",
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), state)
}
