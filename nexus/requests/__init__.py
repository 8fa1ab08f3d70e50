"""What is asked by MQTT: who asks, how much of it is taken, and the answers."""
