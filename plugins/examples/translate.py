#!/usr/bin/python3
"""Translates what is said: a plugin in Python. translate.py HOST PORT NODE LANGUAGE, with python3-paho-mqtt."""
import json, sys, uuid
import paho.mqtt.client as mqtt
from paho.mqtt.properties import PacketTypes, Properties

host, port, node, language = sys.argv[1:5]
reply_to = Properties(PacketTypes.PUBLISH)
reply_to.ResponseTopic = f"examples/{uuid.uuid4().hex}"  # where the daemon answers this program, and nobody else
streams = {}  # of the transcripts that are being translated, by the id of the request

def on_connect(client, *_):
    client.subscribe([(f"hearth/{node}/out/+/transcript", 1), (reply_to.ResponseTopic, 1)])

def on_message(client, _, message):
    data = json.loads(message.payload)
    if message.topic == reply_to.ResponseTopic:  # {"id", "ok", "data" or "error"}
        text = data["data"]["text"] if data["ok"] else data["error"]["message"]
        if stream := streams.pop(data["id"], None):  # with QoS 1 an answer may come twice
            client.publish(f"home/{stream}/{language}", json.dumps({"ok": data["ok"], "text": text}), qos=1)
    else:
        streams[data["id"]] = data["stream"]
        ask = {"id": data["id"], "prompt": f"Translate into {language}: {data['text']}", "maxTokens": 64}
        client.publish(f"hearth/{node}/request/generate", json.dumps(ask), qos=1, properties=reply_to)

version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []  # paho 2 asks for it
client = mqtt.Client(*version, protocol=mqtt.MQTTv5)
client.on_connect, client.on_message = on_connect, on_message
client.connect(host, int(port))
client.loop_forever()
