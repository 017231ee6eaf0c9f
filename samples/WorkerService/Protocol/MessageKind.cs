namespace WorkerService.Protocol;

/// <summary>The messages, by their number on the wire.</summary>
internal enum MessageKind : byte
{
    /// <summary><see cref="OfferMessage"/></summary>
    Offer = 1,

    /// <summary><see cref="GrantMessage"/></summary>
    Grant = 2,

    /// <summary><see cref="ChunkMessage"/></summary>
    Chunk = 3,

    /// <summary><see cref="CompleteMessage"/></summary>
    Complete = 4,

    /// <summary><see cref="ResultMessage"/></summary>
    Result = 5,

    /// <summary><see cref="AbortMessage"/></summary>
    Abort = 6,
}
