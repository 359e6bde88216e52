// amqp091-go against the daemon: go-client URL, and franz-go where the URL begins with kafka. Prints a line for each thing it saw; ends with 0 when all of
// it was as it must be.
//
// Run by interop-go.spec.ts.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const patience = 10 * time.Second

func main() {
	url := os.Args[1]
	if strings.HasPrefix(url, "kafka:") {
		kafka(url)
		return
	}
	connection, err := amqp.Dial(url)
	must(err)
	workQueue(connection)
	returned(connection)
	redelivered(connection)
	transaction(connection)
	refused(connection)
	must(connection.Close())
	see("all of it")
}

func see(what string) { fmt.Println(what) }

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(connection *amqp.Connection) *amqp.Channel {
	channel, err := connection.Channel()
	must(err)
	return channel
}

// A durable queue, twenty persistent messages with deferred confirmations, prefetch 5, manual acknowledgement.
func workQueue(connection *amqp.Connection) {
	channel := open(connection)
	defer channel.Close()
	_, err := channel.QueueDeclare("go_queue", true, false, false, false, nil)
	must(err)
	must(channel.Confirm(false))
	for number := 0; number < 20; number++ {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(fmt.Sprint(number)), Headers: amqp.Table{"number": int32(number)}}
		confirmation, err := channel.PublishWithDeferredConfirm("", "go_queue", true, false, message)
		must(err)
		if !confirmation.Wait() {
			log.Fatal("a publish was refused")
		}
	}
	see("confirmed")
	must(channel.Qos(5, 0, false))
	deliveries, err := channel.Consume("go_queue", "", false, false, false, false, nil)
	must(err)
	for number := 0; number < 20; number++ {
		delivery := next(deliveries)
		if string(delivery.Body) != fmt.Sprint(number) || delivery.Headers["number"] != int32(number) {
			log.Fatalf("got %s %v in place of %d", delivery.Body, delivery.Headers, number)
		}
		must(delivery.Ack(false))
	}
	see("consumed in order")
	purged, err := channel.QueueDelete("go_queue", false, false, false)
	must(err)
	if purged != 0 {
		log.Fatalf("%d messages were left", purged)
	}
}

func next(deliveries <-chan amqp.Delivery) amqp.Delivery {
	select {
	case delivery, isOpen := <-deliveries:
		if !isOpen {
			log.Fatal("the consumer has ended")
		}
		return delivery
	case <-time.After(patience):
		log.Fatal("nothing came")
	}
	panic("unreachable")
}

func returned(connection *amqp.Connection) {
	channel := open(connection)
	defer channel.Close()
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	must(channel.Publish("amq.direct", "nowhere", true, false, amqp.Publishing{Body: []byte("back")}))
	select {
	case message := <-returns:
		if message.ReplyCode != amqp.NoRoute || string(message.Body) != "back" {
			log.Fatalf("came back as %v", message)
		}
		see("returned")
	case <-time.After(patience):
		log.Fatal("nothing came back")
	}
}

// What a channel had and did not acknowledge when it ended comes again, flagged. A get right behind the publish finds the message.
func redelivered(connection *amqp.Connection) {
	channel := open(connection)
	_, err := channel.QueueDeclare("go_again", true, false, false, false, nil)
	must(err)
	must(channel.Publish("", "go_again", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("again")}))
	_, isThere, err := channel.Get("go_again", false)
	must(err)
	if !isThere {
		log.Fatal("a get did not find what was published before it")
	}
	must(channel.Close())
	other := open(connection)
	defer other.Close()
	message, isThere, err := other.Get("go_again", true)
	must(err)
	if !isThere || !message.Redelivered {
		log.Fatalf("came again as %v %v", isThere, message.Redelivered)
	}
	_, err = other.QueueDelete("go_again", false, false, false)
	must(err)
	see("redelivered")
}

func transaction(connection *amqp.Connection) {
	channel := open(connection)
	defer channel.Close()
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	must(err)
	must(channel.Tx())
	must(channel.Publish("", queue.Name, false, false, amqp.Publishing{Body: []byte("no")}))
	must(channel.TxRollback())
	must(channel.Publish("", queue.Name, false, false, amqp.Publishing{Body: []byte("yes")}))
	must(channel.TxCommit())
	message, isThere, err := channel.Get(queue.Name, true)
	must(err)
	if !isThere || string(message.Body) != "yes" {
		log.Fatalf("the transaction left %v %s", isThere, message.Body)
	}
	see("transaction")
}

func refused(connection *amqp.Connection) {
	channel := open(connection)
	_, err := channel.QueueDeclarePassive("none", false, false, false, false, nil)
	refusal, isRefusal := err.(*amqp.Error)
	if !isRefusal || refusal.Code != amqp.NotFound || !strings.Contains(refusal.Reason, "no queue 'none' in vhost '/'") {
		log.Fatalf("refused with %v", err)
	}
	see("404")
}
