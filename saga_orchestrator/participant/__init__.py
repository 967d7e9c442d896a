"""What a service needs to take part in sagas, without a store or a broker.

``handlers.py`` registers functions, ``executor.py`` runs one for a command and
answers, ``context.py`` is what the function sees, ``signals.py`` what it may
raise, and ``barrier`` makes its effect happen once in its own database.
"""
