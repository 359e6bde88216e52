// franz-go against the daemon: go-client kafka://USER:PASSWORD@HOST:PORT. As main.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

func kafka(address string) {
	where, err := url.Parse(address)
	must(err)
	password, _ := where.User.Password()
	login := kgo.SASL(plain.Auth{User: where.User.Username(), Pass: password}.AsMechanism())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(where.Host), login, kgo.AllowAutoTopicCreation(),
		kgo.ConsumeTopics("go"), kgo.ConsumerGroup("go-group"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	must(err)
	produceAndConsume(ctx, client)
	refusedTopic(ctx, client)
	must(client.LeaveGroupContext(ctx))
	client.Close()
	see("all of it")
}

// An idempotent producer, each compression in turn, one group.
func produceAndConsume(ctx context.Context, client *kgo.Client) {
	for number := 0; number < 20; number++ {
		record := &kgo.Record{Topic: "go", Key: []byte("k"), Value: []byte(fmt.Sprint(number))}
		must(client.ProduceSync(ctx, record).FirstErr())
		if record.Offset != int64(number) {
			log.Fatalf("record %d is at %d", number, record.Offset)
		}
	}
	see("produced in order")
	for seen := 0; seen < 20; {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if string(record.Value) != fmt.Sprint(seen) {
				log.Fatalf("%s came where %d was to come", record.Value, seen)
			}
			seen++
		})
	}
	see("consumed in order")
	must(client.CommitUncommittedOffsets(ctx))
	if at := client.CommittedOffsets()["go"][0].Offset; at != 20 {
		log.Fatalf("%d is committed", at)
	}
	see("committed")
}

func refusedTopic(ctx context.Context, client *kgo.Client) {
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "a b", 1, 1
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(ctx, client)
	must(err)
	if !errors.Is(kerr.ErrorForCode(answer.Topics[0].ErrorCode), kerr.InvalidTopicException) {
		log.Fatalf("answered with %d", answer.Topics[0].ErrorCode)
	}
	see("refused")
}
