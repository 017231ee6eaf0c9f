namespace AllocTools.Doctor;

/// <summary>A fault of some versions of the transports' libraries, which their operators should know about.</summary>
/// <remarks>
/// The library can't prevent these faults, so each is listed with advice. Faults that it works around are described in
/// docs/reliability.md. A distribution may have fixed a fault without changing the version number, so they are
/// warnings.
/// </remarks>
/// <param name="FixedIn">The first version without the fault.</param>
/// <param name="What">The effect of the fault, in a sentence.</param>
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

    /// <summary>Returns the faults that a version has.</summary>
    public static IEnumerable<KnownFault> Of(IReadOnlyList<KnownFault> faults, Version version) => faults.Where(f => version < f.FixedIn);
}
