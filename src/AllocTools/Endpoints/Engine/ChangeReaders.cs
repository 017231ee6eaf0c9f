using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace AllocTools.Endpoints.Engine;

/// <summary>Reports changes to readers. Readers run on their own threads, and a slow reader loses the oldest reports.</summary>
/// <typeparam name="T">The type of a change.</typeparam>
internal sealed class ChangeReaders<T>
{
    private const int Room = 1024;

    private readonly Lock _gate = new();
    private readonly List<Channel<T>> _readers = [];
    private bool _closed;

    public void Report(T change)
    {
        lock (_gate)
        {
            foreach (Channel<T> reader in _readers)
                reader.Writer.TryWrite(change);
        }
    }

    /// <summary>Reads the changes from this call on, until <see cref="Close"/>.</summary>
    public IAsyncEnumerable<T> ReadAsync(CancellationToken cancellationToken)
    {
        var reader = Channel.CreateBounded<T>(new BoundedChannelOptions(Room) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        lock (_gate)
        {
            if (_closed)
                reader.Writer.Complete();
            else
                _readers.Add(reader);
        }
        return ReadAsync(reader, cancellationToken);
    }

    /// <summary>Ends all readers after the reports so far.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            _readers.ForEach(static r => r.Writer.TryComplete());
            _readers.Clear();
        }
    }

    private async IAsyncEnumerable<T> ReadAsync(Channel<T> reader, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            await foreach (T change in reader.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
                yield return change;
        }
        finally
        {
            lock (_gate)
                _readers.Remove(reader);
        }
    }
}
