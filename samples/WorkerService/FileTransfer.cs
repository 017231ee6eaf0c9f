using System.Buffers;
using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;

namespace WorkerService;

/// <summary>
/// Transfers one file over a connection. The sender reads and hashes it in the connection's own registered memory, from
/// which it is sent; the receiver writes it to disk directly from such memory.
/// </summary>
/// <remarks>
/// The sender is not trusted: its messages are checked, and the file gets its name only when it is complete
/// and both hashes agree.
/// </remarks>
internal sealed class FileTransfer(IRmaMemoryPool pool, RmaConnections connections, TransferOptions options, Report report)
{
    /// <summary>
    /// The scheme of a ticket, which is a URI with host and port of the connection, and a token. Connections without
    /// the token are ignored.
    /// </summary>
    public const string Scheme = "rma";

    private const int FewestBytes = 64 << 10;

    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <summary>Sends a file, waits until the receiver has it under its name, and says what both sides did.</summary>
    public async Task SendAsync(SourceFile file, string ticket, CancellationToken cancellationToken)
    {
        if (!Uri.TryCreate(ticket, UriKind.Absolute, out Uri? receiver) || receiver.Scheme != Scheme)
            throw new TransferException("The peer's ticket can't be read; pass the whole ticket that the receiver printed.");
        string host = receiver.Host.Equals(Environment.MachineName, StringComparison.OrdinalIgnoreCase) ? "localhost" : receiver.DnsSafeHost;
        await using RmaConnection connection = await connections.ConnectAsync(new DnsEndPoint(host, receiver.Port), cancellationToken);
        var counter = new TransferSummary.Counter(pool);
        var peer = new Peer(connection, "receiver", options.Timeout);
        try
        {
            await peer.SendAsync(new Message(receiver.AbsolutePath[1..], file.State), cancellationToken);
            Message accept = await peer.ReceiveAsync(cancellationToken);
            if (accept.Has is not { } start || start < 0 || start > file.State.Length)
                throw peer.OutOfTurn;
            await peer.DuringAsync(() => file.HashStart(start, _hash, cancellationToken), cancellationToken);
            if (start > 0 && !_hash.GetCurrentHash().AsSpan().SequenceEqual(accept.Hash))
                throw new TransferException(
                    $"The first {start} bytes of '{file.State.Name}' differ from those that the receiver has: the file has changed, or another file had its name. "
                    + $"Remove '{OutputFolder.ResumableName(file.State)}' from the output directory, or leave --resume out.");
            Task<TransferSummary> answer = ListenAsync(peer, file.State, start, cancellationToken);
            for (long sent = start; sent < file.State.Length && !answer.IsCompleted;)
            {
                Memory<byte> memory = connection.Output.GetMemory(FewestBytes);
                int length = (int)Math.Min(memory.Length - Peer.PieceHeader, file.State.Length - sent);
                Span<byte> bytes = memory.Span.Slice(Peer.PieceHeader, length);
                file.Read(bytes, sent);
                _hash.AppendData(bytes);
                Peer.WritePieceHeader(memory.Span, length);
                connection.Output.Advance(Peer.PieceHeader + length);
                await peer.FlushAsync(cancellationToken);
                sent += length;
            }
            file.CheckUnchanged();
            TransferSummary own = counter.Summarize("sender", file.State, start, _hash.GetCurrentHash(), savedAs: null);
            if (!answer.IsCompleted)
                await peer.SendAsync(new Message(Hash: _hash.GetCurrentHash()), cancellationToken);
            TransferSummary theirs = await answer;
            if (theirs.Sha256 != own.Sha256)
                throw new TransferException($"The receiver wrote different bytes: SHA-256 {theirs.Sha256} there, {own.Sha256} here.");
            Console.Write(TransferSummary.ToText(own, theirs with { Role = "receiver", File = file.State, SavedAs = Report.OneLine(theirs.SavedAs ?? "") }));
        }
        catch (Exception e)
        {
            // Disposing the connection delivers that message to the receiver; aborting it might not.
            await peer.GiveUpAsync(e);
            throw;
        }
    }

    /// <summary>Waits for a sender, which needs the ticket that is passed to <paramref name="listening"/>, and receives one file.</summary>
    public async Task ReceiveAsync(IPAddress? node, Func<string, Task> listening, CancellationToken cancellationToken)
    {
        using var folder = new OutputFolder(options.OutputDirectory);
        await using RmaConnectionListener listener = connections.Listen(new IPEndPoint(node ?? IPAddress.Any, 0));
        string token = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        await listening(new UriBuilder(Scheme, node?.ToString() ?? Environment.MachineName, ((IPEndPoint)listener.EndPoint).Port, token).Uri.ToString());
        (RmaConnection connection, Peer peer, FileState file) = await AcceptAsync(listener, token, cancellationToken);
        await using RmaConnection _ = connection;
        var counter = new TransferSummary.Counter(pool);
        long? keptBefore = null;
        try
        {
            if (!SourceFile.IsNameRight(file.Name) || file.Length < 0)
                throw new TransferException($"The sender offers a file with an invalid name or length: '{file.Name}', {file.Length} bytes.");
            keptBefore = folder.KeptBytes(file);
            using var part = new OutputFolder.Part(folder, file, options);
            byte[] hash = await TransferAsync(connection, file, part, peer, cancellationToken);
            string savedAs = "";
            await peer.DuringAsync(() => savedAs = part.Commit(), cancellationToken);
            TransferSummary summary = counter.Summarize("receiver", file, part.Start, hash, savedAs);
            await peer.SendAsync(new Message(Summary: summary), cancellationToken);
            // If both sides were started by one command, the sender prints the summary of both.
            if (options.Role == TransferRole.Receiver)
                Console.Write(TransferSummary.ToText(summary));
        }
        catch (Exception e)
        {
            await peer.GiveUpAsync(e);
            if (keptBefore is { } before)
                report.NoteKept(folder, file, before);
            throw;
        }
    }

    /// <summary>Receives the receiver's acknowledgements, up to its last message.</summary>
    private async Task<TransferSummary> ListenAsync(Peer peer, FileState file, long acknowledged, CancellationToken cancellationToken)
    {
        while (true)
        {
            report.Show(file, acknowledged);
            Message message = await peer.ReceiveAsync(cancellationToken);
            if (message.Summary is { } last)
                return last;
            acknowledged = message.Has ?? throw peer.OutOfTurn;
        }
    }

    /// <summary>Asks all connecting peers for the ticket, in parallel, so that a silent one blocks nobody.</summary>
    private async Task<Sender> AcceptAsync(RmaConnectionListener listener, string token, CancellationToken cancellationToken)
    {
        var found = new TaskCompletionSource<Sender>();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task asking = AskAllAsync();
        try
        {
            return await found.Task.InTimeAsync(options.OfferTimeout, $"No sender has connected for {options.OfferTimeout} s.", cancellationToken);
        }
        finally
        {
            await limit.CancelAsync();
            await asking;
        }

        async Task AskAllAsync()
        {
            List<Task> asked = [];
            try
            {
                while (true)
                    asked.Add(AskAsync((RmaConnection)(await listener.AcceptAsync(limit.Token))!));
            }
            catch (Exception e)
            {
                found.TrySetException(e);
            }
            await Task.WhenAll(asked);
        }

        async Task AskAsync(RmaConnection connection)
        {
            try
            {
                var peer = new Peer(connection, "sender", options.Timeout);
                if (await peer.ReceiveAsync(limit.Token) is { File: { } file } offer && offer.Token == token && found.TrySetResult(new Sender(connection, peer, file)))
                    return;
                await peer.GiveUpAsync(new TransferException("the ticket belongs to another receiver, or is incomplete."));
            }
            catch (Exception e) when (e is TransferException or JsonException or IOException or OperationCanceledException)
            {
                // Such a peer does not have the ticket. OperationCanceledException is also the error of a connection
                // whose peer has violated the protocol.
                connection.Abort();
            }
            await connection.DisposeAsync();
        }
    }

    private async Task<byte[]> TransferAsync(RmaConnection connection, FileState file, OutputFolder.Part part, Peer peer, CancellationToken cancellationToken)
    {
        await peer.DuringAsync(() => part.Content.HashStart(part.Start, _hash, cancellationToken), cancellationToken);
        await peer.SendAsync(new Message(Has: part.Start, Hash: _hash.GetCurrentHash()), cancellationToken);
        report.Show(file, part.Start);
        long position = part.Start, acknowledged = 0;
        Message message;
        while ((message = await peer.ReceiveAsync(cancellationToken)).Piece is { } length)
        {
            if (length < 1 || length > file.Length - position)
                throw new TransferException($"The sender announces {length} bytes at {position} of a file of {file.Length}.");
            for (long end = position + length; position < end;)
            {
                ReadOnlySequence<byte> bytes = (await peer.ReadAsync(cancellationToken)).Buffer;
                bytes = bytes.Slice(0, Math.Min(bytes.Length, end - position));
                Task hashing = Task.Run(() => ForEach(bytes, memory => _hash.AppendData(memory.Span)), CancellationToken.None);
                await peer.DuringAsync(() => ForEach(bytes, memory => position += part.Write(memory, position)), cancellationToken);
                await hashing;
                connection.Input.AdvanceTo(bytes.End);
            }
            report.Show(file, position);
            if (position < file.Length && Stopwatch.GetElapsedTime(acknowledged) < Peer.WordEach)
                continue;
            await peer.SendAsync(new Message(Has: position), cancellationToken);
            acknowledged = Stopwatch.GetTimestamp();
        }
        byte[] own = _hash.GetHashAndReset(), theirs = position == file.Length && message.Hash is { } hash ? hash : throw peer.OutOfTurn;
        part.IsWrong = !own.AsSpan().SequenceEqual(theirs);
        return !part.IsWrong ? own : throw new TransferException(
            $"The received bytes differ from the sent ones: SHA-256 {Convert.ToHexStringLower(own)} here, {Convert.ToHexStringLower(theirs)} there.");

        static void ForEach(ReadOnlySequence<byte> bytes, Action<ReadOnlyMemory<byte>> action)
        {
            foreach (ReadOnlyMemory<byte> memory in bytes)
                action(memory);
        }
    }

    /// <summary>The peer that has the ticket.</summary>
    private sealed record Sender(RmaConnection Connection, Peer Peer, FileState File);
}
