using System.Security.Cryptography;
using AllocTools.Connections.Rings;

namespace AllocTools.Connections;

/// <summary>
/// Deals out this side's numbers of connections. They are random, since on some transports a number is all that a peer needs to disturb another one's connection; and none is used again soon, since a
/// notification of an earlier connection may come late.
/// </summary>
/// <remarks>The caller has a lock.</remarks>
internal sealed class ConnectionNumbers
{
    /// <summary>How many other connections come before a number is used again.</summary>
    private const int MostRecent = 4096;

    private readonly HashSet<int> _recent = [];
    private readonly Queue<int> _inOrder = new();

    /// <summary>A number that is not in use.</summary>
    public int Next(Func<int, bool> isUsed)
    {
        int number;
        do
            number = RandomNumberGenerator.GetInt32(Notice.MostConnections + 1);
        while (_recent.Contains(number) || isUsed(number));
        _recent.Add(number);
        _inOrder.Enqueue(number);
        if (_inOrder.Count > MostRecent)
            _recent.Remove(_inOrder.Dequeue());
        return number;
    }
}
