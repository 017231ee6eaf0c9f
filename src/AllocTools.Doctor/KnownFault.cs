namespace AllocTools.Doctor;

/// <summary>Faults of versions of the transports' libraries that somebody who runs them should know.</summary>
/// <remarks>
/// Each is one that the library can't cure, with what to do. What it works around itself stands in docs/reliability.md. A distribution may have
/// mended a fault without another version number, so they are warnings.
/// </remarks>
/// <param name="FixedIn">The first version without it.</param>
/// <param name="What">What happens, in a sentence.</param>
/// <param name="Advice">What to do.</param>
internal sealed record KnownFault(Version FixedIn, string What, string Advice)
{
    public static IReadOnlyList<KnownFault> OfLibfabric { get; } =
    [
        new(new Version(2, 7),
            "every release up to 2.6 lets a peer of the tcp provider (tcp, tcp;ofi_rxm, net) write past a buffer on the heap by a forged header (libfabric's pull request 12593)",
            "Let only hosts that you trust reach this machine's ports of libfabric, or install a release after 2.6, or a package of the distribution that has the fix"),
    ];

    public static IReadOnlyList<KnownFault> OfUcx { get; } =
    [
        new(new Version(1, 19, 1),
            "shared memory of UCX before 1.19.1 may take a full queue for one with room, which overwrites messages or hangs (UCX's issue 10477, pull request 10823)",
            "Install UCX 1.19.1 or later, or keep shared memory out, as ErrorHandling = Peer does unless Transports asks for it"),
    ];

    /// <summary>Those that a version has.</summary>
    public static IEnumerable<KnownFault> Of(IReadOnlyList<KnownFault> faults, Version version) => faults.Where(f => version < f.FixedIn);
}
