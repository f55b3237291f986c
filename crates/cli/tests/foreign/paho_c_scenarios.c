/* Scenarios for Paho's client in C (MQTTClient, MQTT 5) against any broker.
 *
 *     paho_c_scenarios HOST PORT VERSION SCENARIO WORD
 *
 * VERSION is 5; WORD begins all topics and client ids, so that runs do not meet.
 * Ends with the line "ok SCENARIO", or with a line that says what is wrong and exit code 1. Every
 * wait has a deadline.
 */

#include <MQTTClient.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DEADLINE_MS 20000L

static const char *address, *host, *word;
static int port;

/* Ends the program with these words. */
static void fail(const char *what, const char *about)
{
    fprintf(stderr, "failed: %s (%s)\n", what, about);
    exit(1);
}

static void check(int holds, const char *what)
{
    if (!holds)
        fail(what, "does not hold");
}

/* A topic of this run; valid until four others were asked for. */
static const char *topic(const char *rest)
{
    static char texts[4][128];
    static int next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof texts[0], "%s/%s", word, rest);
    return text;
}

static void add_number(MQTTProperties *all, enum MQTTPropertyCodes id, unsigned value)
{
    MQTTProperty property;
    memset(&property, 0, sizeof property);
    property.identifier = id;
    if (id == MQTTPROPERTY_CODE_RECEIVE_MAXIMUM || id == MQTTPROPERTY_CODE_TOPIC_ALIAS)
        property.value.integer2 = (unsigned short)value;
    else if (id == MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR)
        property.value.byte = (unsigned char)value;
    else
        property.value.integer4 = value;
    check(MQTTProperties_add(all, &property) == 0, "a number is a property");
}

static void add_text(MQTTProperties *all, enum MQTTPropertyCodes id, const char *name, const char *value)
{
    MQTTProperty property;
    memset(&property, 0, sizeof property);
    property.identifier = id;
    property.value.data.data = (char *)name;
    property.value.data.len = (int)strlen(name);
    if (value) {
        property.value.value.data = (char *)value;
        property.value.value.len = (int)strlen(value);
    }
    check(MQTTProperties_add(all, &property) == 0, "a text is a property");
}

/* A client that is connected. */
static MQTTClient connected(const char *name, int clean, unsigned expiry, unsigned receive)
{
    char id[128];
    MQTTClient client;
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer5;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTResponse response;

    snprintf(id, sizeof id, "%s%s", word, name);
    create.MQTTVersion = MQTTVERSION_5;
    check(MQTTClient_createWithOptions(&client, address, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create)
          == MQTTCLIENT_SUCCESS, "a client is made");
    options.MQTTVersion = MQTTVERSION_5;
    options.cleanstart = clean;
    options.connectTimeout = 20;
    if (expiry)
        add_number(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, expiry);
    if (receive)
        add_number(&properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, receive);
    response = MQTTClient_connect5(client, &options, &properties, NULL);
    if (response.reasonCode != MQTTREASONCODE_SUCCESS)
        fail("CONNECT is accepted", MQTTReasonCode_toString(response.reasonCode));
    MQTTResponse_free(response);
    MQTTProperties_free(&properties);
    return client;
}

static void subscribe(MQTTClient client, const char *filter, int qos)
{
    MQTTResponse response = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
    check((int)response.reasonCode == qos, "the QoS is granted");
    MQTTResponse_free(response);
}

/* Publishes and, over QoS 0, waits for the end of the exchange. */
static void publish(MQTTClient client, const char *name, const char *payload, int qos, MQTTProperties *properties)
{
    MQTTClient_message message = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token;
    MQTTResponse response;

    message.payload = (void *)payload;
    message.payloadlen = (int)strlen(payload);
    message.qos = qos;
    if (properties)
        message.properties = MQTTProperties_copy(properties);
    response = MQTTClient_publishMessage5(client, name, &message, &token);
    check(response.reasonCode == MQTTREASONCODE_SUCCESS, "PUBLISH is sent");
    MQTTResponse_free(response);
    if (qos)
        check(MQTTClient_waitForCompletion(client, token, DEADLINE_MS) == MQTTCLIENT_SUCCESS,
              "it is acknowledged in time");
    MQTTProperties_free(&message.properties);
}

/* The next message; its topic is freed here, the message by the caller. */
static MQTTClient_message *receive(MQTTClient client, const char *name)
{
    char *came = NULL;
    int length = 0;
    MQTTClient_message *message = NULL;
    int code = MQTTClient_receive(client, &came, &length, &message, DEADLINE_MS);
    check(code == MQTTCLIENT_SUCCESS || code == MQTTCLIENT_TOPICNAME_TRUNCATED, "receiving works");
    check(message != NULL, "a message comes in time");
    if (name && strcmp(came, name))
        fail("the topic is the right one", came);
    MQTTClient_free(came);
    return message;
}

static int says(const MQTTClient_message *message, const char *payload)
{
    return message->payloadlen == (int)strlen(payload)
        && !memcmp(message->payload, payload, strlen(payload));
}

static void expect(MQTTClient client, const char *name, const char *payload, int qos)
{
    MQTTClient_message *message = receive(client, name);
    if (!says(message, payload))
        fail("the payload is the right one", payload);
    check(message->qos == qos, "the QoS is the right one");
    MQTTClient_freeMessage(&message);
}

static int is_text(const MQTTProperty *property, const char *name, const char *value)
{
    if (!property || property->value.data.len != (int)strlen(name)
        || memcmp(property->value.data.data, name, strlen(name)))
        return 0;
    return !value || (property->value.value.len == (int)strlen(value)
                      && !memcmp(property->value.value.data, value, strlen(value)));
}

static void leave(MQTTClient client)
{
    check(MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL) == MQTTCLIENT_SUCCESS,
          "DISCONNECT is said");
    MQTTClient_destroy(&client);
}

static void properties(void)
{
    MQTTClient sender = connected("s", 1, 0, 0), receiver = connected("r", 1, 0, 0);
    MQTTProperties given = MQTTProperties_initializer;
    static const char *pairs[][2] = {{"a", "1"}, {"b", ""}, {"a", "2"}};
    int qos, pair;

    subscribe(receiver, topic("t"), 2);
    for (pair = 0; pair < 3; pair++)
        add_text(&given, MQTTPROPERTY_CODE_USER_PROPERTY, pairs[pair][0], pairs[pair][1]);
    add_text(&given, MQTTPROPERTY_CODE_CONTENT_TYPE, "text/plain", NULL);
    add_text(&given, MQTTPROPERTY_CODE_RESPONSE_TOPIC, topic("answer"), NULL);
    add_text(&given, MQTTPROPERTY_CODE_CORRELATION_DATA, "no. 7", NULL);
    add_number(&given, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, 1);
    for (qos = 0; qos <= 2; qos++) {
        MQTTClient_message *message;
        publish(sender, topic("t"), "words", qos, &given);
        message = receive(receiver, topic("t"));
        check(says(message, "words") && message->qos == qos, "the message is the right one");
        for (pair = 0; pair < 3; pair++)
            check(is_text(MQTTProperties_getPropertyAt(&message->properties, MQTTPROPERTY_CODE_USER_PROPERTY, pair),
                          pairs[pair][0], pairs[pair][1]), "user properties come in their order");
        check(is_text(MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_CONTENT_TYPE),
                      "text/plain", NULL), "the content type comes");
        check(is_text(MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC),
                      topic("answer"), NULL), "the response topic comes");
        check(is_text(MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_CORRELATION_DATA),
                      "no. 7", NULL), "the correlation data come");
        MQTTClient_freeMessage(&message);
    }
    MQTTProperties_free(&given);
    leave(sender);
    leave(receiver);
}

static void aliases(void)
{
    MQTTClient sender = connected("s", 1, 0, 0), receiver = connected("r", 1, 0, 0);
    MQTTProperties one = MQTTProperties_initializer, two = MQTTProperties_initializer;

    subscribe(receiver, topic("+"), 1);
    add_number(&one, MQTTPROPERTY_CODE_TOPIC_ALIAS, 1);
    add_number(&two, MQTTPROPERTY_CODE_TOPIC_ALIAS, 2);
    publish(sender, topic("t"), "first", 1, &one);
    publish(sender, topic("u"), "other", 1, &two);
    publish(sender, "", "second", 1, &one);
    publish(sender, "", "third", 1, &two);
    expect(receiver, topic("t"), "first", 1);
    expect(receiver, topic("u"), "other", 1);
    expect(receiver, topic("t"), "second", 1);
    expect(receiver, topic("u"), "third", 1);
    MQTTProperties_free(&one);
    MQTTProperties_free(&two);
    leave(sender);
    leave(receiver);
}

static void shared_subscriptions(void)
{
    MQTTClient sender = connected("s", 1, 0, 0);
    MQTTClient members[2] = {connected("a", 1, 0, 0), connected("b", 1, 0, 0)};
    char filter[256], text[16];
    int seen[100] = {0}, counts[2] = {0}, number, member;

    snprintf(filter, sizeof filter, "$share/%s/%s", word, topic("t"));
    for (member = 0; member < 2; member++) {
        subscribe(members[member], filter, 1);
        subscribe(members[member], topic("end"), 1);
    }
    for (number = 0; number < 100; number++) {
        snprintf(text, sizeof text, "%d", number);
        publish(sender, topic("t"), text, 1, NULL);
    }
    publish(sender, topic("end"), "end", 1, NULL);
    for (member = 0; member < 2; member++) {
        MQTTClient_message *message;
        while (!says(message = receive(members[member], NULL), "end")) {
            snprintf(text, sizeof text, "%.*s", message->payloadlen, (char *)message->payload);
            number = atoi(text);
            check(number >= 0 && number < 100 && !seen[number]++, "each message comes once");
            counts[member]++;
            MQTTClient_freeMessage(&message);
        }
        MQTTClient_freeMessage(&message);
    }
    check(counts[0] + counts[1] == 100, "every message comes");
    check(counts[0] && counts[1], "both members get some");
    leave(sender);
    leave(members[0]);
    leave(members[1]);
}

/* Returns when the broker knows that this client, who has left, is away.
 *
 * A client that says DISCONNECT and closes its socket can't know when that is read; what is published at
 * once may still be on its way to it, and such a message is sent again though it has expired. So a further
 * connection takes the session over and says DISCONNECT, and the end of that one comes from the broker. */
static void seen_to_be_away(const char *name)
{
    /* CONNECT of MQTT 5 with a session that lasts an hour; the client id follows. */
    unsigned char packet[128] = "\x10\0\0\4MQTT\5\0\0\x3c\5\x11\0\0\x0e\x10\0", came[4096];
    const size_t fixed = 20;
    struct timeval deadline = { .tv_sec = DEADLINE_MS / 1000 };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    size_t length = (size_t)snprintf((char *)packet + fixed, sizeof packet - fixed, "%s%s", word, name);
    ssize_t got;
    int last = socket(AF_INET, SOCK_STREAM, 0);

    packet[1] = (unsigned char)(fixed - 2 + length);
    packet[fixed - 1] = (unsigned char)length;
    setsockopt(last, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    check(inet_pton(AF_INET, host, &to.sin_addr) == 1, "the broker's host is an address");
    check(connect(last, (struct sockaddr *)&to, sizeof to) == 0, "a further connection");
    check(write(last, packet, fixed + length) == (ssize_t)(fixed + length), "CONNECT is sent");
    check(recv(last, came, 4, MSG_WAITALL) == 4, "CONNACK comes");
    check(came[0] == 0x20 && came[2] == 1 && came[3] == 0, "the session is there");
    check(write(last, "\xe0", 2) == 2, "DISCONNECT is sent");
    while ((got = read(last, came, sizeof came)) > 0)
        ;
    check(got == 0, "the broker ends the connection in time");
    close(last);
}

static void expiry(void)
{
    int left;
    MQTTClient away = connected("p", 0, 3600, 0), sender, back;
    MQTTProperties brief = MQTTProperties_initializer, lasting = MQTTProperties_initializer;
    MQTTClient_message *message;

    subscribe(away, topic("t"), 1);
    leave(away);
    seen_to_be_away("p");
    sender = connected("s", 1, 0, 0);
    add_number(&brief, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, 1);
    add_number(&lasting, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, 600);
    publish(sender, topic("t"), "short", 1, &brief);
    publish(sender, topic("t"), "long", 1, &lasting);
    /* Time is what is tested here. */
    usleep(2500000);
    back = connected("p", 0, 3600, 0);
    /* This version of the library does not say whether there was a session; its message does. */
    message = receive(back, topic("t"));
    check(says(message, "long"), "the message that has not expired comes");
    left = MQTTProperties_getNumericValue(&message->properties, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
    check(left > 500 && left < 600, "its interval is less by the time it waited");
    MQTTClient_freeMessage(&message);
    MQTTProperties_free(&brief);
    MQTTProperties_free(&lasting);
    leave(sender);
    leave(back);
}

static void flow_control(void)
{
    MQTTClient sender = connected("s", 1, 0, 0), receiver = connected("r", 1, 0, 2);
    char text[16];
    int number;

    subscribe(receiver, topic("t"), 2);
    for (number = 0; number < 200; number++) {
        snprintf(text, sizeof text, "%d", number);
        publish(sender, topic("t"), text, 2, NULL);
    }
    for (number = 0; number < 200; number++) {
        snprintf(text, sizeof text, "%d", number);
        expect(receiver, topic("t"), text, 2);
    }
    leave(sender);
    leave(receiver);
}

int main(int count, char **arguments)
{
    static const struct { const char *name; void (*run)(void); } scenarios[] = {
        {"properties", properties}, {"aliases", aliases},
        {"shared_subscriptions", shared_subscriptions}, {"expiry", expiry},
        {"flow_control", flow_control},
    };
    char text[256];
    size_t index;

    if (count != 6)
        fail("usage", "HOST PORT VERSION SCENARIO WORD");
    snprintf(text, sizeof text, "tcp://%s:%s", arguments[1], arguments[2]);
    address = text;
    host = arguments[1];
    port = atoi(arguments[2]);
    word = arguments[5];
    for (index = 0; index < sizeof scenarios / sizeof *scenarios; index++) {
        if (!strcmp(scenarios[index].name, arguments[4])) {
            scenarios[index].run();
            printf("ok %s\n", arguments[4]);
            return 0;
        }
    }
    fail("no such scenario", arguments[4]);
    return 1;
}
