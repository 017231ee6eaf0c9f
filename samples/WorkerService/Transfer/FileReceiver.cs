using System.Security.Cryptography;
using AllocTools;
using AllocTools.Regions;
using WorkerService.Application;
using WorkerService.Protocol;
using WorkerService.Reporting;

namespace WorkerService.Transfer;

/// <summary>Receives a file into rented memory that it exposes to the sender, and writes it to disk.</summary>
/// <remarks>
/// The sender is not trusted: what it says is checked (<see cref="WireFormat"/>, <see cref="ReceiveWindow"/>), and the file
/// gets its name only when all of it is there and both hashes agree.
/// </remarks>
internal sealed class FileReceiver(IRmaMemoryPool pool, IRmaEndpoint endpoint, TransferOptions options)
{
    // Chunks, a complete, an abort, and one to spare.
    private int MessagesOnTheirWay => options.InFlight + 3;

    /// <summary>Waits for a sender, and receives one file.</summary>
    /// <param name="directory">Where it is kept.</param>
    /// <param name="listening">Called with the ticket that a sender needs.</param>
    /// <param name="progressSource">Shows progress.</param>
    /// <param name="cancellationToken">Ends it; nothing is kept.</param>
    /// <exception cref="TransferException">It isn't there.</exception>
    /// <exception cref="RmaException">The fabric failed.</exception>
    public async Task<TransferSummary> ReceiveAsync(
        string directory, Action<PeerTicket> listening, IProgressSource progressSource, CancellationToken cancellationToken)
    {
        RmaProviderTraits traits = endpoint.Context.Traits;
        var books = new PoolBooks(pool);
        using PartialFile file = PartialFile.Create(directory);
        PeerTicket ticket = PeerTicket.For(endpoint);
        await using var channel = new MessageChannel(pool, endpoint, ticket.Session, "sender", options.Timeout, MessagesOnTheirWay);
        listening(ticket);
        Message first = await channel.ReceiveAsync(options.OfferTimeout, cancellationToken);
        OfferMessage offer = first as OfferMessage ?? throw channel.OutOfTurn(first);
        channel.Connect(offer.Address);
        books.StartClock();
        string savedAs;
        byte[] hash = [];
        await using ITransferProgress progress = progressSource.StartProgress(offer.Name, offer.FileLength);
        try
        {
            file.CheckName(offer.Name, options.Overwrite);
            await TaskGroup.RunAsync(async group => hash = await TransferAsync(offer, file, channel, progress, group), cancellationToken);
            savedAs = file.Commit(offer.Name, options.Overwrite);
            await channel.SendAsync(new ResultMessage(hash), cancellationToken);
        }
        catch (Exception e)
        {
            await channel.TryAbortAsync(e);
            throw;
        }
        return books.Summarize("receiver", traits.ProviderName, offer.Name, offer.FileLength, hash, savedAs);
    }

    private async Task<byte[]> TransferAsync(OfferMessage offer, PartialFile file, MessageChannel channel, ITransferProgress progress, TaskGroup group)
    {
        using var window = new ReceiveWindow(
            pool, Math.Min(offer.InFlight, options.InFlight), Math.Min(offer.ChunkSize, options.ChunkSize), offer.FileLength);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[]? theirs = null;
        await GrantAsync(window, channel, group);
        while (window.Position < offer.FileLength || theirs is null)
        {
            Message message = await channel.ReceiveAsync(options.Timeout, group.Token);
            switch (message)
            {
                case ChunkMessage chunk:
                    window.Fill(chunk);
                    await WriteAsync(window, file, hash, progress, group.Token);
                    await GrantAsync(window, channel, group);
                    break;
                case CompleteMessage complete when theirs is null:
                    theirs = complete.Hash;
                    break;
                default:
                    throw channel.OutOfTurn(message);
            }
        }
        byte[] own = hash.GetHashAndReset();
        return own.AsSpan().SequenceEqual(theirs)
            ? own
            : throw new TransferException($"The bytes that came are not those that were sent: SHA-256 {Convert.ToHexStringLower(own)} here, {Convert.ToHexStringLower(theirs)} there.");
    }

    /// <summary>Writes what is next in the file, as far as it is here, and gives the memory back.</summary>
    private static async Task WriteAsync(ReceiveWindow window, PartialFile file, IncrementalHash hash, ITransferProgress progress, CancellationToken cancellationToken)
    {
        while (window.TryTakeNext(out RmaBuffer buffer, out int length))
        {
            using (buffer)
            {
                hash.AppendData(buffer.Span[..length]);
                await file.WriteAsync(buffer.Memory[..length], window.Position - length, cancellationToken);
            }
            progress.Advance(length);
        }
    }

    /// <summary>Grants the sender as many slots as are free. The messages go out beside what follows.</summary>
    private static async Task GrantAsync(ReceiveWindow window, MessageChannel channel, TaskGroup group)
    {
        while (await window.TryOpenAsync(group.Token) is { } grant)
            group.Run(token => channel.SendAsync(grant, token));
    }
}
