using System.Net;
using System.Security.Cryptography;
using System.Threading.Channels;
using AllocTools;
using AllocTools.Connections;
using AllocTools.Regions;

namespace WorkerService;

/// <summary>Sends a file: each chunk from a rented buffer, by an RMA write into memory that the receiver has exposed; a message then says that it is there.</summary>
/// <remarks>The stages: reading and hashing, in order, and posting the writes; telling of those that have completed; taking acknowledgements. As many chunks are on their way as the receiver has memory for.</remarks>
internal sealed class FileSender(IRmaMemoryPool pool, RmaConnections connections, TransferOptions options, Report report)
{
    /// <summary>Sends a file, and waits until the receiver has it under its name.</summary>
    /// <exception cref="TransferException">It has not.</exception>
    public async Task<TransferSummary> SendAsync(SourceFile file, string ticket, CancellationToken cancellationToken)
    {
        RmaProviderTraits traits = pool.Context.Traits;
        if (!traits.DeliveryComplete && !traits.SendAfterWriteOrdered)
            throw new TransferException($"The provider '{traits.ProviderName}' can't tell when written bytes are there (neither delivery-complete nor ordered sends after writes), so no chunk could be announced.");
        if (!Uri.TryCreate(ticket, UriKind.Absolute, out Uri? receiver) || receiver.Scheme != FileReceiver.Scheme)
            throw new TransferException("The peer's ticket can't be read; pass what the receiver printed, whole.");
        string host = receiver.Host.Equals(Environment.MachineName, StringComparison.OrdinalIgnoreCase) ? "localhost" : receiver.DnsSafeHost;
        await using RmaConnection connection = await connections.ConnectAsync(new DnsEndPoint(host, receiver.Port), cancellationToken);
        var counter = new TransferSummary.Counter(pool);
        var peer = new Peer(connection, "receiver", options.Timeout);
        var offer = new Offer(receiver.AbsolutePath[1..], file.Name, file.Length, file.Changed, options.ChunkSize, options.InFlight);
        try
        {
            await peer.SendAsync(new Message(offer), cancellationToken);
            Accept accept = (await peer.ReceiveAsync(cancellationToken)).Accept ?? throw peer.OutOfTurn;
            await using Report.Progress progress = report.StartProgress(file.Name, file.Length);
            byte[] hash = await TransferAsync(file, accept, connection, peer, progress, cancellationToken);
            return counter.Summarize("sender", offer, accept.Start, hash, savedAs: null);
        }
        catch (Exception e)
        {
            await peer.TryAbortAsync(e);
            throw;
        }
    }

    private async Task<byte[]> TransferAsync(SourceFile file, Accept accept, RmaConnection connection, Peer peer, Report.Progress progress, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await SkipAsync(file, accept, hash, cancellationToken);
        progress.Advance(accept.Start);
        RemoteRegion[] memory = Array.ConvertAll(accept.Memory, m => connection.Import(RemoteMemory.Read(m)));
        Channel<int> free = Channel.CreateUnbounded<int>();
        Channel<(Chunk Chunk, Task Writing)> posted = Channel.CreateBounded<(Chunk, Task)>(memory.Length);
        var lengths = new int[memory.Length];
        byte[] own = [], theirs = [];
        for (int slot = 0; slot < memory.Length; slot++)
            free.Writer.TryWrite(slot);
        await Stages.RunAsync(cancellationToken, PostAsync, TellAsync, ListenAsync);
        return own.AsSpan().SequenceEqual(theirs)
            ? own
            : throw new TransferException($"The receiver wrote other bytes: SHA-256 {Convert.ToHexStringLower(theirs)} there, {Convert.ToHexStringLower(own)} here.");

        async Task PostAsync(CancellationToken token)
        {
            for (long offset = accept.Start; offset < file.Length;)
            {
                int slot = await free.Reader.ReadAsync(token);
                var chunk = new Chunk(slot, offset, (int)Math.Min(Math.Min(options.ChunkSize, memory[slot].Length), file.Length - offset));
                RmaBuffer buffer = await pool.RentAsync(chunk.Length, token);
                lengths[slot] = chunk.Length;
                await posted.Writer.WriteAsync((chunk, WriteAsync(buffer, chunk, token)), token);
                offset += chunk.Length;
            }
            own = hash.GetHashAndReset();
            posted.Writer.Complete();
        }

        async Task WriteAsync(RmaBuffer buffer, Chunk chunk, CancellationToken token)
        {
            using (buffer)
            {
                file.Read(buffer.Span, chunk.Offset);
                hash.AppendData(buffer.Span);
                await connections.Endpoint.WriteAsync(buffer, memory[chunk.Slot].Slice(0, chunk.Length), options.Timeout, token);
            }
        }

        async Task TellAsync(CancellationToken token)
        {
            await foreach ((Chunk chunk, Task writing) in posted.Reader.ReadAllAsync(token))
            {
                // The write is complete, so its bytes are there before this message is.
                await writing;
                await peer.SendAsync(new Message(Chunk: chunk), token);
            }
            await peer.SendAsync(new Message(Hash: own), token);
        }

        async Task ListenAsync(CancellationToken token)
        {
            while (theirs.Length == 0)
            {
                Message message = await peer.ReceiveAsync(token);
                if (message.Acknowledged is { } slot && (uint)slot < (uint)memory.Length && lengths[slot] > 0)
                {
                    progress.Advance(Interlocked.Exchange(ref lengths[slot], 0));
                    free.Writer.TryWrite(slot);
                }
                else
                {
                    theirs = message.Hash ?? throw peer.OutOfTurn;
                }
            }
        }
    }

    /// <summary>Hashes what the receiver has already.</summary>
    private async Task SkipAsync(SourceFile file, Accept accept, IncrementalHash hash, CancellationToken cancellationToken)
    {
        if (accept.Start < 0 || accept.Start > file.Length || accept.Memory.Length is 0 or > 256)
            throw new TransferException("The receiver's answer does not fit the file.");
        using RmaBuffer buffer = await pool.RentAsync(options.ChunkSize, cancellationToken);
        for (long offset = 0; offset < accept.Start; offset += buffer.Length)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Span<byte> part = buffer.Span[..(int)Math.Min(buffer.Length, accept.Start - offset)];
            file.Read(part, offset);
            hash.AppendData(part);
        }
        if (accept.Start > 0 && !hash.GetCurrentHash().AsSpan().SequenceEqual(accept.Hash))
            throw new TransferException($"The first {accept.Start} bytes of '{file.Name}' are not those that the receiver has: it has changed since, or another file had its name.");
    }
}
