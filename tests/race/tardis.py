"""COBalD/TARDIS as a scaler of the race."""


def reason_to_skip(_folder):
    return "not written yet"


def use(_manager, _folder):
    raise NotImplementedError
