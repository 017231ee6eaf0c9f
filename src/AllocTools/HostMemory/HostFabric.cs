using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.HostMemory;

/// <summary>The process as a fabric, which finds each registration by its key and each endpoint by its address.</summary>
/// <remarks>
/// It is static because it stands for the process. Two pools, hosts or tests in it reach each other only by keys and
/// addresses that they have received, which are random.
/// </remarks>
internal static class HostFabric
{
    /// <summary>EACCES, the error code of an operation that a registration does not allow.</summary>
    public const int PermissionDenied = 13;

    private static readonly ConcurrentDictionary<ulong, HostRegistration> Registrations = new();
    private static readonly ConcurrentDictionary<Guid, HostDriver> Endpoints = new();

    public static HostRegistration Add(TransportDescription transport, nint address, long length, RmaAccess access, bool locked)
    {
        while (true)
        {
            ulong key = 0;
            RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(new Span<ulong>(ref key)));
            var registration = new HostRegistration(transport, address, length, access, key, locked);
            if (Registrations.TryAdd(key, registration))
                return registration;
        }
    }

    public static bool TryRemove(HostRegistration registration) =>
        Registrations.TryRemove(new KeyValuePair<ulong, HostRegistration>(registration.Key, registration));

    private static bool TryFind(ulong key, [NotNullWhen(true)] out HostRegistration? registration) =>
        Registrations.TryGetValue(key, out registration);

    /// <summary>Executes a write or a read, if its registration allows it.</summary>
    public static unsafe RmaPostResult Copy(RmaDriverOperation operation)
    {
        if (!TryFind(operation.Key, out HostRegistration? registration) || !registration.TryEnter())
            return RmaPostResult.Refused(PermissionDenied);
        try
        {
            bool isWrite = operation.Kind == RmaOperationKind.Write;
            RmaAccess needed = isWrite ? RmaAccess.RemoteWrite : RmaAccess.RemoteRead;
            long length = operation.Length;
            ulong end = (ulong)registration.Length;
            if ((registration.Access & needed) == 0 || operation.RemoteAddress > end || (ulong)length > end - operation.RemoteAddress)
                return RmaPostResult.Refused(PermissionDenied);
            void* there = (byte*)registration.Address + operation.RemoteAddress;
            void* here = (void*)operation.Address;
            Buffer.MemoryCopy(isWrite ? here : there, isWrite ? there : here, length, length);
            return RmaPostResult.Done(length);
        }
        finally
        {
            registration.Exit();
        }
    }

    public static void Add(Guid address, HostDriver endpoint) => Endpoints[address] = endpoint;

    public static void Remove(Guid address) => Endpoints.TryRemove(address, out _);

    public static ICollection<HostDriver> All() => Endpoints.Values;

    public static bool TryFind(Guid address, [NotNullWhen(true)] out HostDriver? endpoint) =>
        Endpoints.TryGetValue(address, out endpoint);
}
