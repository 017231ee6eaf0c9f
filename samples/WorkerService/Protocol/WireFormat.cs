namespace WorkerService.Protocol;

/// <summary>The form of the messages between sender and receiver.</summary>
/// <remarks>
/// Little-endian. Each message is: tag <c>RMAF</c>, version 1, <see cref="MessageKind"/> (1 byte), length of the body
/// (2 bytes), session (16 bytes, from the receiver's ticket), body. Nothing follows the body.
/// The order is: Offer; then Grants from the receiver, a Chunk for each Grant that was used, and a Complete, in any
/// order of arrival; then a Result. Either side may end it by an Abort. File bytes never go by message: they are written
/// by RMA into the memory that a Grant describes, before the Chunk that tells of them is sent.
/// </remarks>
internal static class WireFormat
{
    /// <summary>The version that both sides must have.</summary>
    public const byte Version = 1;

    /// <summary>Bytes before the body.</summary>
    public const int HeaderLength = 24;

    /// <summary>The longest message, in bytes; a Grant with the longest key has 1,088 bytes. Buffers for messages have this length.</summary>
    public const int MaxMessageLength = 2048;

    /// <summary>The longest endpoint address, in bytes.</summary>
    public const int MaxAddressLength = 512;

    /// <summary>The longest file name, in bytes of UTF-8: what file systems take.</summary>
    public const int MaxFileNameLength = 255;

    /// <summary>The longest reason of an abort, in bytes of UTF-8.</summary>
    public const int MaxReasonLength = 1024;

    /// <summary>Bytes of a SHA-256 hash.</summary>
    public const int HashLength = 32;

    /// <summary>What every message starts with.</summary>
    public static ReadOnlySpan<byte> Tag => "RMAF"u8;
}
