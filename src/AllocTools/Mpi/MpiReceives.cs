namespace AllocTools.Mpi;

/// <summary>
/// Matches receives with messages: it keeps receives without a message, and messages without a receive. One of the two
/// lists is always empty. It must be used by one thread at a time.
/// </summary>
/// <param name="capacity">The maximum number of receives.</param>
internal sealed class MpiReceives(int capacity)
{
    private const int None = -1;

    // The receives form a list by their indexes, so that one can be removed without a search.
    private readonly int[] _next = new int[capacity];
    private readonly int[] _previous = new int[capacity];
    private readonly bool[] _isIn = new bool[capacity];
    private readonly Queue<MpiArrival> _messages = new();
    private readonly Dictionary<MpiPlace, ulong> _counts = [];
    private int _first = None;
    private int _last = None;

    public void Add(int receive)
    {
        _isIn[receive] = true;
        _next[receive] = None;
        _previous[receive] = _last;
        if (_last == None)
            _first = receive;
        else
            _next[_last] = receive;
        _last = receive;
    }

    /// <summary>Removes a receive.</summary>
    /// <returns>False if the receive's message has already arrived.</returns>
    public bool TryRemove(int receive)
    {
        if (!_isIn[receive])
            return false;
        _isIn[receive] = false;
        int next = _next[receive];
        int previous = _previous[receive];
        if (previous == None)
            _first = next;
        else
            _next[previous] = next;
        if (next == None)
            _last = previous;
        else
            _previous[next] = previous;
        return true;
    }

    /// <summary>Adds a message, with its number among those of its sender.</summary>
    public void Add(in MpiArrival message)
    {
        ulong number = _counts.GetValueOrDefault(message.From) + 1;
        _counts[message.From] = number;
        _messages.Enqueue(message with { Number = number });
    }

    /// <summary>Starts to count a sender's messages anew.</summary>
    public void CountAnew(MpiPlace sender) => _counts[sender] = 0;

    /// <summary>Matches the oldest message with the oldest receive.</summary>
    public bool TryMatch(out int receive, out MpiArrival message)
    {
        receive = _first;
        message = default;
        if (receive == None || !_messages.TryDequeue(out message))
            return false;
        TryRemove(receive);
        return true;
    }

    /// <summary>Removes a message that no receive has matched.</summary>
    public bool TryTakeBack(MpiPlace sender, ulong number, out MpiArrival message)
    {
        message = default;
        bool isFound = false;
        for (int left = _messages.Count; left > 0; left--)
        {
            MpiArrival one = _messages.Dequeue();
            if (!isFound && one.From == sender && one.Number == number)
                (isFound, message) = (true, one);
            else
                _messages.Enqueue(one);
        }
        return isFound;
    }

    /// <summary>Removes all messages.</summary>
    public List<MpiArrival> TakeArrived()
    {
        List<MpiArrival> all = [.. _messages];
        _messages.Clear();
        return all;
    }
}
