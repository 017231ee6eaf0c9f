using System.Security.Cryptography;
using AllocTools.Connections.Rings;

namespace AllocTools.Connections;

/// <summary>
/// Allocates this side's connection numbers. They are random, because on some transports a number is all that a peer
/// needs to disturb the connection of another one; and they are not reused soon, because a notification of an earlier
/// connection may arrive late.
/// </summary>
/// <remarks>The caller has a lock.</remarks>
internal sealed class ConnectionNumbers
{
    /// <summary>The number of other connections before a number is reused.</summary>
    private const int MostRecent = 4096;

    private readonly HashSet<int> _recent = [];
    private readonly Queue<int> _inOrder = new();

    /// <summary>Returns a number that is not in use.</summary>
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
