using System.Diagnostics.CodeAnalysis;

namespace AllocTools.Endpoints;

/// <summary>
/// A message of <see cref="RmaEndpointExtensions.ReceiveAllAsync"/>, in a rented buffer of its own. Dispose it exactly
/// once to return the buffer.
/// </summary>
/// <remarks>
/// A message that was too long for its buffer is lost, and is reported by an element in its place. Code that does not
/// check <see cref="IsTruncated"/> gets the exception from <see cref="Length"/>, <see cref="Span"/> and
/// <see cref="Memory"/>, so that it does not mistake the message for an empty one.
/// </remarks>
[SuppressMessage("Performance", "CA1815", Justification = "A message is handed out once; there are no two to compare.")]
public readonly struct RmaMessage : IDisposable
{
    private readonly long _length;

    internal RmaMessage(RmaBuffer buffer, RmaReceiveResult result)
    {
        Buffer = buffer;
        _length = result.Length;
        Sender = result.Sender;
    }

    internal RmaMessage(RmaMessageTruncatedException truncation) => Truncation = truncation;

    /// <summary>The buffer that contains the message, and may be longer; the default value if <see cref="IsTruncated"/> is true.</summary>
    public RmaBuffer Buffer { get; }

    /// <summary>The sender; null if the transport can't identify it, if the peer isn't inserted, or if <see cref="IsTruncated"/> is true.</summary>
    public RmaPeer? Sender { get; }

    /// <summary>Whether the message was longer than its buffer, and is lost.</summary>
    [MemberNotNullWhen(true, nameof(Truncation))]
    public bool IsTruncated => Truncation is not null;

    /// <summary>The error of a message that was too long; null if the message was received.</summary>
    public RmaMessageTruncatedException? Truncation { get; }

    /// <summary>The length of the message in bytes.</summary>
    /// <exception cref="RmaMessageTruncatedException">The message was too long, and is lost.</exception>
    public long Length => Truncation is null ? _length : throw Truncation;

    /// <summary>The bytes of the message, which must not be used after it was disposed.</summary>
    /// <exception cref="RmaMessageTruncatedException">The message was too long, and is lost.</exception>
    /// <exception cref="InvalidOperationException">The message was disposed.</exception>
    public Span<byte> Span => Buffer.GetSpan(0, Length);

    /// <summary>The bytes of the message, which must not be used after it was disposed.</summary>
    /// <exception cref="RmaMessageTruncatedException">The message was too long, and is lost.</exception>
    /// <exception cref="InvalidOperationException">The message was disposed.</exception>
    public Memory<byte> Memory
    {
        get
        {
            int length = checked((int)Length);
            return Buffer.Memory[..length];
        }
    }

    /// <summary>Returns the buffer.</summary>
    public void Dispose() => Buffer.Dispose();
}
