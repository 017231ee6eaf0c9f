using AllocTools.Endpoints;
using AllocTools.Regions;

namespace AllocTools.Hosting.Tests.Support;

internal sealed class RecordingRegistration : IRmaRegistration
{
    public nint LocalDescriptor => 0;

    public RemoteMemory Describe(long offset, long length, RmaAccess access) => new((ulong)offset, length, 1UL, access);
}
