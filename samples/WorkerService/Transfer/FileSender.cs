using System.Security.Cryptography;
using System.Threading.Channels;
using AllocTools;
using AllocTools.Regions;
using WorkerService.Application;
using WorkerService.Protocol;
using WorkerService.Reporting;

namespace WorkerService.Transfer;

/// <summary>Sends a file: each chunk from a rented buffer, by RMA write into memory that the receiver granted.</summary>
/// <remarks>
/// Grants are the credits: as many chunks are on their way as the receiver has slots for. The file is read and hashed
/// in order; the writes run beside each other. It uses pool and endpoint by their interfaces only, so any provider will do.
/// </remarks>
internal sealed class FileSender(IRmaMemoryPool pool, IRmaEndpoint endpoint, TransferOptions options)
{
    // Grants, a result or an abort, and one to spare.
    private int MessagesOnTheirWay => options.InFlight + 2;

    /// <summary>Sends a file, and waits until the receiver has it under its name.</summary>
    /// <exception cref="TransferException">It isn't there.</exception>
    /// <exception cref="RmaException">The fabric failed.</exception>
    public async Task<TransferSummary> SendAsync(SourceFile file, PeerTicket ticket, IProgressSource progressSource, CancellationToken cancellationToken)
    {
        RmaProviderTraits traits = endpoint.Context.Traits;
        CheckTraits(traits, ticket);
        var books = new PoolBooks(pool);
        await using var channel = new MessageChannel(pool, endpoint, ticket.Session, "receiver", options.Timeout, MessagesOnTheirWay);
        channel.Connect(ticket.Address.Span);
        await using ITransferProgress progress = progressSource.StartProgress(file.Name, file.Length);
        byte[] hash = [];
        try
        {
            await TaskGroup.RunAsync(async group => hash = await TransferAsync(file, channel, progress, group), cancellationToken);
        }
        catch (Exception e)
        {
            await channel.TryAbortAsync(e);
            throw;
        }
        return books.Summarize("sender", traits.ProviderName, file.Name, file.Length, hash, savedAs: null);
    }

    private async Task<byte[]> TransferAsync(SourceFile file, MessageChannel channel, ITransferProgress progress, TaskGroup group)
    {
        Channel<GrantMessage> grants = Channel.CreateBounded<GrantMessage>(options.InFlight);
        var result = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        group.Run(token => ListenAsync(channel, grants.Writer, result, token));

        await channel.SendAsync(new OfferMessage(file.Length, options.ChunkSize, options.InFlight, endpoint.Address.ToArray(), file.Name), group.Token);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long offset = 0;
        while (offset < file.Length)
        {
            GrantMessage grant = await grants.Reader.ReadAsync(group.Token);
            int length = (int)Math.Min(Math.Min(options.ChunkSize, grant.Memory.Length), file.Length - offset);
            RmaBuffer buffer = await ReadChunkAsync(file, offset, length, hash, group.Token);
            long at = offset;
            group.Run(token => MoveAsync(buffer, new ChunkMessage(grant.Slot, at, length), grant.Memory, channel, progress, token));
            offset += length;
        }
        byte[] own = hash.GetHashAndReset();
        await channel.SendAsync(new CompleteMessage(own), group.Token);
        byte[] theirs = await result.Task.WaitAsync(group.Token);
        return own.AsSpan().SequenceEqual(theirs)
            ? own
            : throw new TransferException($"The receiver wrote other bytes: SHA-256 {Convert.ToHexStringLower(theirs)} there, {Convert.ToHexStringLower(own)} here.");
    }

    private async Task<RmaBuffer> ReadChunkAsync(SourceFile file, long offset, int length, IncrementalHash hash, CancellationToken cancellationToken)
    {
        RmaBuffer buffer = await pool.RentAsync(length, cancellationToken);
        try
        {
            await file.ReadAsync(buffer.Memory, offset, cancellationToken);
            hash.AppendData(buffer.Span);
            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Writes one chunk to the receiver's memory, then tells it.</summary>
    private async Task MoveAsync(
        RmaBuffer buffer, ChunkMessage chunk, RemoteMemory destination, MessageChannel channel, ITransferProgress progress, CancellationToken cancellationToken)
    {
        using (buffer)
        using (RemoteRegion region = endpoint.Import(channel.Peer, destination))
            await endpoint.WriteAsync(buffer, region.Slice(0, chunk.Length), options.Timeout, cancellationToken);
        // The write is complete, so its bytes are there before this message is.
        await channel.SendAsync(chunk, cancellationToken);
        progress.Advance(chunk.Length);
    }

    private async Task ListenAsync(
        MessageChannel channel, ChannelWriter<GrantMessage> grants, TaskCompletionSource<byte[]> result, CancellationToken cancellationToken)
    {
        while (true)
        {
            Message message = await channel.ReceiveAsync(options.Timeout, cancellationToken);
            switch (message)
            {
                // One more than was asked for doesn't fit.
                case GrantMessage grant when grants.TryWrite(grant):
                    break;
                case ResultMessage done:
                    result.SetResult(done.Hash);
                    return;
                default:
                    throw channel.OutOfTurn(message);
            }
        }
    }

    private static void CheckTraits(RmaProviderTraits traits, PeerTicket ticket)
    {
        if (ticket.Provider != traits.ProviderName)
            throw new TransferException($"The receiver listens on '{ticket.Provider}', and this side uses '{traits.ProviderName}'. Both need the same --provider.");
        if (!traits.DeliveryComplete && !traits.SendAfterWriteOrdered)
            throw new TransferException($"The provider '{traits.ProviderName}' can't tell when written bytes are there (neither delivery-complete nor ordered sends after writes), so no chunk could be announced.");
    }
}
