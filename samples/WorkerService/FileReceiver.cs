using System.Net;
using System.Security.Cryptography;
using System.Threading.Channels;
using AllocTools;
using AllocTools.Connections;

namespace WorkerService;

/// <summary>Receives a file into rented memory that it exposes to the sender, and writes it to disk.</summary>
/// <remarks>
/// The stages: taking what the sender says; writing; hashing, which acknowledges. The sender is not trusted: what it says is checked, and the file gets its name only when
/// all of it is there and both hashes agree.
/// </remarks>
internal sealed class FileReceiver(IRmaMemoryPool pool, RmaConnections connections, TransferOptions options, Report report, IConfiguration configuration)
{
    /// <summary>A ticket is a URI of this scheme: host and port of the connection, and a token without which whoever connects is ignored.</summary>
    public const string Scheme = "rma";

    /// <summary>Waits for a sender, and receives one file.</summary>
    /// <param name="directory">Where it is kept.</param>
    /// <param name="listening">Called with the ticket that a sender needs.</param>
    /// <param name="cancellationToken">Ends it; nothing is kept, unless it may be resumed.</param>
    /// <exception cref="TransferException">It isn't there.</exception>
    public async Task<TransferSummary> ReceiveAsync(string directory, Action<string> listening, CancellationToken cancellationToken)
    {
        bool isLocal = IPAddress.TryParse(configuration["AllocTools:Provider:Node"], out IPAddress? node) && !configuration["AllocTools:Provider:Provider"]!.Equals("mpi", StringComparison.Ordinal);
        await using RmaConnectionListener listener = connections.Listen(new IPEndPoint(isLocal ? node! : IPAddress.Any, 0));
        string token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        listening(new UriBuilder(Scheme, isLocal ? node!.ToString() : Environment.MachineName, ((IPEndPoint)listener.EndPoint).Port, token).Uri.ToString());
        (RmaConnection connection, Peer peer, Offer offer) = await AcceptAsync(listener, token, cancellationToken);
        await using RmaConnection _ = connection;
        var counter = new TransferSummary.Counter(pool);
        long keptBefore = OutputFolder.KeptBytes(directory, offer.Name, offer.Length, offer.Changed);
        try
        {
            if (SourceFile.FindError(offer.Name) is { } error)
                throw new TransferException($"The sender offers a file whose name {error}.");
            if (offer.Length < 0 || offer.ChunkSize < 1 || offer.InFlight < 1)
                throw new TransferException("The sender's offer can't be.");
            using var part = new OutputFolder.Part(directory, offer, options);
            await using Report.Progress progress = report.StartProgress(offer.Name, offer.Length);
            byte[] hash = await TransferAsync(offer, part, peer, progress, cancellationToken);
            string savedAs = part.Commit(offer.Name, options.Overwrite);
            await peer.SendAsync(new Message(Hash: hash), cancellationToken);
            return counter.Summarize("receiver", offer, part.Start, hash, savedAs);
        }
        catch (Exception e)
        {
            await peer.TryAbortAsync(e);
            if (OutputFolder.KeptBytes(directory, offer.Name, offer.Length, offer.Changed) is var kept && kept > keptBefore)
                report.Kept(kept, offer.Name, directory);
            throw;
        }
    }

    private async Task<(RmaConnection, Peer, Offer)> AcceptAsync(RmaConnectionListener listener, string token, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(options.OfferTimeout);
        try
        {
            while (true)
            {
                var connection = (RmaConnection)(await listener.AcceptAsync(limit.Token))!;
                var peer = new Peer(connection, "sender", options.Timeout);
                try
                {
                    if ((await peer.ReceiveAsync(limit.Token)).Offer is { } offer && offer.Token == token)
                        return (connection, peer, offer);
                }
                catch (TransferException)
                {
                    // Whoever it is, it has not the ticket.
                }
                connection.Abort();
                await connection.DisposeAsync();
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransferException($"No sender has come for {options.OfferTimeout.TotalSeconds:0.#} s.");
        }
    }

    private async Task<byte[]> TransferAsync(Offer offer, OutputFolder.Part part, Peer peer, Report.Progress progress, CancellationToken cancellationToken)
    {
        int chunkSize = Math.Min(offer.ChunkSize, options.ChunkSize);
        RmaBuffer[] memory = new RmaBuffer[Math.Min(offer.InFlight, options.InFlight)];
        RmaExposure?[] exposures = new RmaExposure?[memory.Length];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Channel<Chunk> arrived = Channel.CreateBounded<Chunk>(memory.Length), written = Channel.CreateBounded<Chunk>(memory.Length);
        bool[] isFilled = new bool[memory.Length];
        byte[] theirs = [];
        try
        {
            for (int slot = 0; slot < memory.Length; slot++)
            {
                memory[slot] = await pool.RentAsync(chunkSize, cancellationToken);
                exposures[slot] = memory[slot].Expose(RmaAccess.RemoteWrite);
            }
            Skip(part, memory[0], hash, cancellationToken);
            progress.Advance(part.Start);
            await peer.SendAsync(new Message(Accept: new Accept(part.Start, hash.GetCurrentHash(), Array.ConvertAll(exposures, e => e!.Remote.ToArray()))), cancellationToken);
            await Stages.RunAsync(cancellationToken, ListenAsync, WriteAsync, HashAsync);
        }
        catch
        {
            part.KeepToResume();
            throw;
        }
        finally
        {
            Array.ForEach(exposures, e => e?.Dispose());
            Array.ForEach(memory, m => m.Dispose());
        }
        byte[] own = hash.GetHashAndReset();
        return own.AsSpan().SequenceEqual(theirs)
            ? own
            : throw new TransferException($"The bytes that came are not those that were sent: SHA-256 {Convert.ToHexStringLower(own)} here, {Convert.ToHexStringLower(theirs)} there.");

        async Task ListenAsync(CancellationToken token)
        {
            for (long position = part.Start; theirs.Length == 0;)
            {
                Message message = await peer.ReceiveAsync(token);
                if (message.Chunk is { } chunk)
                {
                    if (chunk.Offset != position || chunk.Length < 1 || chunk.Length > chunkSize || chunk.Length > offer.Length - position)
                        throw new TransferException($"The sender tells of {chunk.Length} bytes at {chunk.Offset} of a file of {offer.Length}, of which {position} have come.");
                    if ((uint)chunk.Slot >= (uint)memory.Length || isFilled[chunk.Slot])
                        throw new TransferException($"The sender tells of a chunk in memory that was not granted ({chunk.Slot}).");
                    isFilled[chunk.Slot] = true;
                    position += chunk.Length;
                    await arrived.Writer.WriteAsync(chunk, token);
                }
                else if (message.Hash is { Length: > 0 } sent && position == offer.Length)
                {
                    theirs = sent;
                    arrived.Writer.Complete();
                }
                else
                {
                    throw peer.OutOfTurn;
                }
            }
        }

        async Task WriteAsync(CancellationToken token)
        {
            await foreach (Chunk chunk in arrived.Reader.ReadAllAsync(token))
            {
                part.Write(memory[chunk.Slot].Span[..chunk.Length], chunk.Offset);
                await written.Writer.WriteAsync(chunk, token);
            }
            written.Writer.Complete();
        }

        async Task HashAsync(CancellationToken token)
        {
            await foreach (Chunk chunk in written.Reader.ReadAllAsync(token))
            {
                hash.AppendData(memory[chunk.Slot].Span[..chunk.Length]);
                progress.Advance(chunk.Length);
                isFilled[chunk.Slot] = false;
                await peer.SendAsync(new Message(Acknowledged: chunk.Slot), token);
            }
        }
    }

    /// <summary>Hashes what has come before.</summary>
    private static void Skip(OutputFolder.Part part, RmaBuffer buffer, IncrementalHash hash, CancellationToken cancellationToken)
    {
        for (long offset = 0; offset < part.Start;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int read = part.Read(buffer.Span[..(int)Math.Min(buffer.Length, part.Start - offset)], offset);
            hash.AppendData(buffer.Span[..read]);
            offset += read;
        }
    }
}
