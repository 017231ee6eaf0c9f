namespace AllocTools.Tests.Model;

/// <summary>What a request must come to.</summary>
internal enum OutcomeKind
{
    /// <summary>The length is none that the pool could ever serve.</summary>
    BadLength = 0,

    /// <summary>The pool is draining or closed.</summary>
    NotOpen = 1,

    /// <summary>Served from memory that is registered.</summary>
    Hit = 2,

    /// <summary>Served by registering memory.</summary>
    Growth = 3,

    /// <summary>Refused, or it waits.</summary>
    NoRoom = 4,
}
