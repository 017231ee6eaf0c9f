using System.Reflection;
using AllocTools.Libfabric.Interop;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>
/// Tests the binding against the installed headers. It needs cc and libfabric's headers, and fails without them.
/// </summary>
public sealed class LayoutTests(NativeProgramFixture fixture) : IClassFixture<NativeProgramFixture>
{
    /// <summary>Structures that are longer in later headers, and the reasons why our shorter ones are harmless.</summary>
    private static readonly Dictionary<string, string> GrowsLater = new()
    {
        [nameof(fi_domain_attr)] = "allocated by fi_dupinfo",
        [nameof(fi_mr_attr)] = "DomainHandle passes a padded copy",
        [nameof(fi_cq_err_entry)] = "CqHandle reads into more room",
        [nameof(fi_ops)] = "a table, which says its size",
        [nameof(fi_ops_fabric)] = "a table, which says its size",
        [nameof(fi_ops_domain)] = "a table, which says its size",
        [nameof(fi_ops_mr)] = "a table, which says its size",
        [nameof(fi_ops_av)] = "a table, which says its size",
        [nameof(fi_ops_cq)] = "a table, which says its size",
        [nameof(fi_ops_ep)] = "a table, which says its size",
        [nameof(fi_ops_cm)] = "a table, which says its size",
        [nameof(fi_ops_msg)] = "a table, which says its size",
        [nameof(fi_ops_tagged)] = "a table, which says its size",
        [nameof(fi_ops_rma)] = "a table, which says its size",
    };

    [Fact]
    public void Structures_have_the_size_of_the_headers()
    {
        bool newer = fixture.Native["headers"] is not [1, <= 17];
        Assert.All(NativeBinding.Structs, type =>
        {
            long native = fixture.Native[NativeProgram.KeyOf(type)][0];
            long ours = NativeLayout.SizeOf(type);
            if (newer && GrowsLater.ContainsKey(type.Name))
                Assert.True(native >= ours, $"{type.Name}: {native} bytes in the headers, {ours} here");
            else
                Assert.True(native == ours, $"{type.Name}: {native} bytes in the headers, {ours} here");
        });
    }

    [Fact]
    public void Fields_stand_where_the_headers_have_them()
        => Assert.All(NativeBinding.Structs.SelectMany(NativeBinding.FieldsOf), field =>
        {
            long[] native = fixture.Native[NativeProgram.KeyOf(field)];
            long[] ours = [NativeLayout.OffsetOf(field), NativeBinding.SizeOf(field)];
            Assert.True(
                native.SequenceEqual(ours),
                $"{NativeProgram.KeyOf(field)}: offset {native[0]} and {native[1]} bytes in the headers, {ours[0]} and {ours[1]} here");
        });

    [Fact]
    public void Constants_have_the_values_of_the_headers()
        => Assert.All(NativeBinding.Constants(), constant =>
            Assert.Equal(fixture.Native[NativeProgram.KeyOf(constant.Type, constant.Name)][0], constant.Value));

    [Fact]
    public void Nothing_is_left_out()
    {
        // This ensures that a broken filter can't make the other tests pass on nothing.
        Assert.Contains(typeof(fid_ep), NativeBinding.Structs);
        Assert.Contains(typeof(iovec), NativeBinding.Structs);
        Assert.Contains(typeof(fi_ep_type), NativeBinding.Enums);
        Assert.All(
            new[] { typeof(FiCaps), typeof(FiFlags), typeof(FiMode), typeof(FiMrMode), typeof(FiOrder), typeof(FiErrno), typeof(FiCommand), typeof(FiConstants) },
            type => Assert.Contains(NativeBinding.Constants(), constant => constant.Type == type));
        Assert.All(NativeBinding.Structs, type => Assert.True(char.IsLower(type.Name[0]), $"{type} is no C name"));
    }

    [Fact]
    public void Structures_are_blittable_and_sequential()
        => Assert.All(NativeBinding.Structs, type =>
        {
            Assert.True(type.IsLayoutSequential, type.Name);
            Assert.All(NativeBinding.FieldsOf(type), field => Assert.True(
                field.FieldType.IsPointer || field.FieldType.IsFunctionPointer || field.FieldType.IsValueType, field.Name));
        });

    [Fact]
    public void Every_error_code_has_its_name()
        => Assert.All(
            NativeBinding.Constants().Where(constant => constant.Type == typeof(FiErrno)),
            constant =>
            {
                Assert.Equal(constant.Name, FiErrno.NameOf((int)constant.Value));
                Assert.Equal(constant.Name, FiErrno.NameOf(-(int)constant.Value));
            });

    [Fact]
    public void Unknown_error_codes_are_numbers()
    {
        Assert.Equal("errno 12345", FiErrno.NameOf(-12345));
        Assert.Equal("errno 2147483647", FiErrno.NameOf(int.MaxValue));
        Assert.Equal("errno -2147483648", FiErrno.NameOf(int.MinValue));
    }
}
