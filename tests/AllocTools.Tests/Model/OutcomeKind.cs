namespace AllocTools.Tests.Model;

/// <summary>The expected kind of outcome of a request.</summary>
internal enum OutcomeKind
{
    /// <summary>The pool can never serve this length.</summary>
    BadLength = 0,

    /// <summary>The pool is draining or closed.</summary>
    NotOpen = 1,

    /// <summary>Served from memory that is already registered.</summary>
    Hit = 2,

    /// <summary>Served by registering memory.</summary>
    Growth = 3,

    /// <summary>Refused, or waiting.</summary>
    NoRoom = 4,
}
