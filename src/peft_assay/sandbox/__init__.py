"""The sandbox room: runs adapters where they can do no harm, and says what it saw and how strong the walls were."""
